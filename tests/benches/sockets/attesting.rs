//! Nodes that join: a TLS handshake, a token, a key, one store commit.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bulla_tests::Domain;
use tokio::task::JoinSet;

use crate::figures::Figure;
use crate::observed::{Observed, raw_sign_rate};
use bulla_tests::{ServerEndpoint, certification_request};

const NODES: u32 = 1000;
const AT_ONCE: u32 = 16;

pub(crate) async fn measure(domain: &Domain) {
    let server = Observed::server(domain);
    let door = ServerEndpoint::of(domain).await;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push((door.token(None).await, certification_request().0));
    }
    let nodes = Arc::new(Mutex::new(nodes));
    let raw_before = raw_sign_rate();
    let (cpu, start) = (server.cpu_seconds(), Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (door, nodes) = (door.clone(), Arc::clone(&nodes));
        tasks.spawn(async move {
            loop {
                let next = nodes.lock().unwrap().pop();
                let Some((token, csr)) = next else { return };
                door.attest(token, csr).await;
            }
        });
    }
    tasks.join_all().await;
    let elapsed = start.elapsed().as_secs_f64();
    let per_cpu = f64::from(NODES) / (server.cpu_seconds() - cpu);
    let raw = f64::midpoint(raw_before, raw_sign_rate());
    Figure::of("attestation by join token, a connection each")
        .with("at_once", AT_ONCE.into())
        .with("per_s", f64::from(NODES) / elapsed)
        .with_text("process", server.name)
        .with("per_cpu_s", per_cpu)
        .with("raw_sign_per_cpu_s", raw)
        .with("of_raw_sign", per_cpu / raw)
        .print();
}
