//! Appends per second with 1, 16 and 64 appenders in flight, and the cost of one append
//! call on the appender's thread. One JSON object per line.

use std::error::Error;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use journal::{Binding, Draft, Journal, Options, Priority};
use tempfile::TempDir;

const RUN: Duration = Duration::from_secs(2);
const PAYLOAD_BYTES: usize = 250;

fn main() -> Result<(), Box<dyn Error>> {
    for in_flight in [1_u32, 16, 64, 256] {
        let dir = TempDir::new_in(".")?;
        let journal = Journal::open(dir.path(), Options::default())?;
        let (records, elapsed) = async_appenders(&journal, in_flight)?;
        report("journal_append_async", in_flight, records, elapsed)?;
    }
    for in_flight in [1_u32, 16, 64] {
        let dir = TempDir::new_in(".")?;
        let journal = Journal::open(dir.path(), Options::default())?;
        let (records, elapsed) = thread_appenders(&journal, in_flight)?;
        report("journal_append_threads", in_flight, records, elapsed)?;
    }
    call_cost()
}

fn draft(n: u64) -> Draft {
    Draft {
        priority: Priority::default(),
        binding: Binding::of(&n.to_be_bytes()),
        payload: vec![1; PAYLOAD_BYTES],
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// As many appends in flight as asked, all awaited by one task.
fn async_appenders(journal: &Journal, in_flight: u32) -> Result<(u64, Duration), Box<dyn Error>> {
    let start = now();
    let mut done = 0_u64;
    let mut pending: FuturesUnordered<_> = (0..u64::from(in_flight))
        .map(|n| journal.append(vec![draft(n)]))
        .collect();
    block_on(async {
        while let Some(outcome) = pending.next().await {
            outcome?;
            done = done.saturating_add(1);
            if start.elapsed() < RUN {
                pending.push(journal.append(vec![draft(done)]));
            }
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    Ok((done, start.elapsed()))
}

fn thread_appenders(journal: &Journal, in_flight: u32) -> Result<(u64, Duration), Box<dyn Error>> {
    let start = now();
    let appender = || {
        let mut done = 0_u64;
        while start.elapsed() < RUN {
            journal
                .append_blocking(vec![draft(done)])
                .map_err(|error| error.to_string())?;
            done = done.saturating_add(1);
        }
        Ok::<u64, String>(done)
    };
    let mut total = 0_u64;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..in_flight).map(|_| scope.spawn(appender)).collect();
        for thread in threads {
            total = total.saturating_add(thread.join().map_err(|_panic| "a thread panicked")??);
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    Ok((total, start.elapsed()))
}

/// What one call costs its caller while the writer is busy, without the wait.
fn call_cost() -> Result<(), Box<dyn Error>> {
    const CALLS: u32 = 20_000;
    let dir = TempDir::new_in(".")?;
    let journal = Journal::open(dir.path(), Options::default())?;
    let drafts: Vec<_> = (0..u64::from(CALLS)).map(|n| vec![draft(n)]).collect();
    let mut pending = Vec::with_capacity(drafts.len());
    let start = now();
    for draft in drafts {
        pending.push(journal.append(draft));
    }
    let nanoseconds = start.elapsed().as_nanos() / u128::from(CALLS);
    block_on(async {
        for appending in pending {
            appending.await?;
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    let line = format!("{{\"bench\":\"journal_append_call\",\"ns_per_call\":{nanoseconds}}}");
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

fn report(bench: &str, in_flight: u32, records: u64, elapsed: Duration) -> io::Result<()> {
    let per_second = u128::from(records) * 1_000_000 / elapsed.as_micros().max(1);
    writeln!(
        io::stdout(),
        "{{\"bench\":\"{bench}\",\"in_flight\":{in_flight},\"per_second\":{per_second}}}"
    )
}
