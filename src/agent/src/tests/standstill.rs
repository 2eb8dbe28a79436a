//! The agent once stood still for ever: it held the value that it was to acknowledge
//! while it asked the hub, and the hub wrote that value while it held its own lock.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use identity::Bundle;

use super::fake_server::FakeServer;
use super::node::{Node, config, eventually};
use crate::clock::Clock;

/// Enough for the two to meet, many times over; each costs some microseconds.
const BUNDLES: u64 = 20_000;

#[test]
fn bundles_that_arrive_while_one_is_acknowledged_never_stop_the_agent() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let clock = Clock::system();
    let (node, server, _dir) = runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let server = FakeServer::start(clock.clone()).await;
        let node = Node::start(config(&server, &dir), &clock).await;
        // Following, with an SVID of its own: the hub is asked whether that stands.
        eventually("the agent follows", || {
            server.state.acks.borrow().bundle_sequence_replaced > 0
        })
        .await;
        (node, server, dir)
    });
    let hub = Arc::clone(&node.core.hub);
    let first = hub.own_bundle().unwrap();
    let last = first.sequence + BUNDLES;
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        for sequence in first.sequence + 1..=last {
            let mut bundle = Bundle::clone(&first);
            bundle.sequence = sequence;
            hub.replace_bundles(Arc::new(bundle), Vec::new());
        }
        let _ = done.send(());
    });
    let in_time = is_done.recv_timeout(Duration::from_secs(30)).is_ok();
    if in_time {
        let told = eventually("the last one is acknowledged", || {
            server.state.acks.borrow().bundle_sequence_replaced == last
        });
        runtime.block_on(told);
        runtime.block_on(node.stop()).unwrap();
    }
    // What stands still would hold up an orderly end.
    runtime.shutdown_background();
    assert!(in_time, "the hub and the sync stream wait for each other");
}
