//! Repeating a call from several tasks for a while.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::figures::Figure;
use crate::observed::{Observed, raw_sign_rate};

/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(3);

/// What is repeated, and how.
pub(crate) struct Load<'a> {
    pub(crate) what: &'a str,
    /// Whose CPU time counts.
    pub(crate) process: Observed,
    /// Calls in flight.
    pub(crate) at_once: u32,
    /// What one call counts for: the items of its batch.
    pub(crate) items: u32,
}

impl Load<'_> {
    /// Repeats `call`, which is given the number of its task and of its turn.
    pub(crate) async fn run<F, C>(self, call: C)
    where
        F: Future<Output = ()> + Send,
        C: Fn(usize, usize) -> F + Clone + Send + Sync + 'static,
    {
        call(0, 0).await;
        let raw_before = raw_sign_rate();
        let cpu = self.process.cpu_seconds();
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for task in 0..usize::try_from(self.at_once).unwrap() {
            let call = call.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < SPAN {
                    let begun = Instant::now();
                    call(task, latencies.len()).await;
                    latencies.push(begun.elapsed());
                }
                latencies
            });
        }
        let latencies = tasks.join_all().await.concat();
        let elapsed = start.elapsed().as_secs_f64();
        let cpu = self.process.cpu_seconds() - cpu;
        let raw = f64::midpoint(raw_before, raw_sign_rate());
        let done = f64::from(u32::try_from(latencies.len()).unwrap()) * f64::from(self.items);
        Figure::of(self.what)
            .with("at_once", self.at_once.into())
            .with("items", self.items.into())
            .with("per_s", done / elapsed)
            .with_latencies(latencies)
            .with_text("process", self.process.name)
            .with("per_cpu_s", done / cpu)
            .with("raw_sign_per_cpu_s", raw)
            .with("of_raw_sign", done / cpu / raw)
            .print();
    }
}
