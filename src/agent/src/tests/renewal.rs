//! Renewal: at half life, on order, with new keys, pushed to waiting streams.

use std::sync::atomic::Ordering;

use api::workload::{X509svidRequest, X509svidResponse};
use identity::Seconds;
use tonic::Streaming;

use super::fake_server::FakeServer;
use super::node::{Node, config, entry, eventually, until, within};
use crate::clock::Clock;

async fn next(stream: &mut Streaming<X509svidResponse>) -> X509svidResponse {
    within(stream.message())
        .await
        .unwrap()
        .expect("the stream ended")
}

async fn open(node: &Node) -> Streaming<X509svidResponse> {
    let mut client = node.client().await;
    within(client.fetch_x509svid(X509svidRequest {}))
        .await
        .unwrap()
        .into_inner()
}

async fn with_one_svid() -> (Clock, FakeServer, Node, tempfile::TempDir) {
    let clock = Clock::manual(Clock::system().now());
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    (clock, server, node, dir)
}

#[tokio::test]
async fn a_renewed_svid_is_pushed_with_a_new_key_well_before_the_old_one_ends() {
    let (clock, server, node, _dir) = with_one_svid().await;
    let mut stream = open(&node).await;
    let first = next(&mut stream).await;
    // Before two fifths of its life nothing is renewed, after three fifths everything.
    clock.advance(Seconds(3600 * 2 / 5 - 10));
    node.core.hub.due.notify_one();
    clock.advance(Seconds(3600 / 5 + 20));
    node.core.hub.due.notify_one();
    let second = next(&mut stream).await;
    assert_ne!(second.svids[0].x509_svid, first.svids[0].x509_svid);
    assert_ne!(second.svids[0].x509_svid_key, first.svids[0].x509_svid_key);
    assert_eq!(
        server.state.x509_issued.load(Ordering::SeqCst),
        2,
        "once, and once again"
    );
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_due_at_once_replaces_the_agents_key_and_all_workload_keys() {
    let (_clock, server, node, _dir) = with_one_svid().await;
    let mut stream = open(&node).await;
    let first = next(&mut stream).await;
    let own = node.core.own().unwrap();
    node.core.hub.rekey(Seconds(0));
    node.core.rekey.notify_one();
    let second = next(&mut stream).await;
    assert_ne!(second.svids[0].x509_svid_key, first.svids[0].x509_svid_key);
    eventually("the agent has a new key", || {
        node.core.own().unwrap().key.secret_pkcs8() != own.key.secret_pkcs8()
    })
    .await;
    assert_eq!(server.state.renewals.load(Ordering::SeqCst), 1);
    // With the new SVID it opens its stream anew.
    until(&server.state.hellos, |hellos| hellos.len() == 2).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_issuance_is_tried_again_and_does_not_hold_up_the_rest() {
    let (clock, server, node, _dir) = with_one_svid().await;
    server.state.refuse_issuance.store(true, Ordering::SeqCst);
    server.put(&entry("e2", "/b"));
    eventually("the failure is told of", || {
        node.core
            .health
            .problems()
            .iter()
            .any(|(_, p)| p.reason.contains("not issued"))
    })
    .await;
    let mut stream = open(&node).await;
    assert_eq!(
        next(&mut stream).await.svids.len(),
        1,
        "the other is served meanwhile"
    );
    server.state.refuse_issuance.store(false, Ordering::SeqCst);
    clock.advance(Seconds(60));
    node.core.hub.due.notify_one();
    assert_eq!(next(&mut stream).await.svids.len(), 2);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_failed_while_the_server_was_away_is_tried_as_soon_as_it_is_back() {
    let (_clock, mut server, node, _dir) = with_one_svid().await;
    server.state.refuse_issuance.store(true, Ordering::SeqCst);
    server.put(&entry("e2", "/b"));
    eventually("the failure is told of", || {
        let problems = node.core.health.problems();
        problems
            .iter()
            .any(|(_, p)| p.reason.contains("not issued"))
    })
    .await;
    server.stop().await;
    server.state.refuse_issuance.store(false, Ordering::SeqCst);
    server.come_back().await;
    // The clock stands still: no pause runs out.
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 2
    })
    .await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn the_agents_own_svid_is_renewed_in_time() {
    let (clock, server, node, _dir) = with_one_svid().await;
    let before = node.core.own().unwrap();
    clock.advance(Seconds(3600 * 3 / 5 + 20));
    // Its timer sleeps by the machine's clock: an order wakes it the same way.
    node.core.renewed.notify_waiters();
    eventually("the agent has a new SVID", || {
        node.core.own().unwrap().svid.not_after > before.svid.not_after
    })
    .await;
    assert!(server.state.renewals.load(Ordering::SeqCst) >= 1);
    node.stop().await.unwrap();
}
