//! From nothing to a first SVID, and the memory of a trust domain at rest.

use std::time::{Duration, Instant};

use bulla_tests::{Domain, Settings};
use serde_json::Value;

use crate::figures::Figure;
use crate::observed::Observed;
use crate::workloads::first_answer;
use bulla_tests::unix;

const STARTS: usize = 5;
/// Until what was only needed to start is given back.
const REST: Duration = Duration::from_secs(3);

/// Starts several trust domains and leaves the last one up, with an agent known
/// as `/node` and an entry for this process.
pub(crate) async fn measure() -> Domain {
    let mut latencies = Vec::new();
    let mut last = None;
    for _ in 0..STARTS {
        // One at a time, and none beside the one that is measured.
        drop(last.take());
        let begun = Instant::now();
        let domain = start();
        let channel = unix(&domain.workload_socket()).await;
        while !first_answer(&channel).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        latencies.push(begun.elapsed());
        last = Some(domain);
    }
    Figure::of("cold start of server, token, entry and agent to first SVID")
        .with_latencies(latencies)
        .print();
    let domain = last.unwrap();
    tokio::time::sleep(REST).await;
    for process in [Observed::server(&domain), Observed::agent(&domain)] {
        let (all, anonymous) = process.memory_kib();
        Figure::of("idle memory")
            .with_text("process", process.name)
            .with("kib", all)
            .with("anonymous_kib", anonymous)
            .print();
    }
    domain
}

fn start() -> Domain {
    let mut domain = Domain::server_alone(Settings::default());
    let node = domain.id("/node");
    let create = ["token", "create", "--spiffe-id", &node, "--json"];
    let token: Value = domain.admin(create).ok().json();
    domain.register("/workload", []);
    domain.start_agent(Some(&token));
    domain
}
