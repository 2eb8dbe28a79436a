//! During an outage nobody becomes somebody else: when the first identity of a process
//! has no valid SVID, the next one is not given in its place.

use std::sync::atomic::Ordering;

use api::workload::X509svidRequest;
use identity::Seconds;
use tonic::{Code, Status};

use super::fake_server::FakeServer;
use super::json_api::{HEADER, ask};
use super::node::{Node, config, entry, eventually, within};
use super::{sds, tokens};
use crate::clock::Clock;

async fn first_identity(node: &Node) -> Result<String, Status> {
    let mut client = node.client().await;
    let stream = within(client.fetch_x509svid(X509svidRequest {})).await?;
    let message = within(stream.into_inner().message()).await?.unwrap();
    Ok(message.svids[0].spiffe_id.clone())
}

#[tokio::test]
async fn a4_an_expired_first_svid_makes_no_other_identity_the_default() {
    let clock = Clock::manual(Clock::system().now());
    let mut server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    let held = |count| node.core.hub.counts().x509_svids == count;
    server.state.svid_seconds.store(100, Ordering::SeqCst);
    server.put(&entry("payments", "/payments"));
    eventually("the first SVID is there", || held(1)).await;
    server.state.svid_seconds.store(100_000, Ordering::SeqCst);
    server.put(&entry("metrics", "/metrics"));
    eventually("the second SVID is there", || held(2)).await;
    let first = first_identity(&node).await.unwrap();
    assert_eq!(first, "spiffe://example.org/payments");

    server.stop().await;
    clock.advance(Seconds(200));
    node.core.hub.due.notify_one();
    eventually("the first SVID has expired", || held(1)).await;
    // Also after an attempt to renew it has failed.
    node.core
        .hub
        .fail_x509([&entry("payments", "/payments").id]);
    let json = ask(&node, "GET", "/v1/svid/x509", &[HEADER], "");
    let (x509, json, sds) = tokio::join!(
        first_identity(&node),
        json,
        sds::fetch(&node, sds::asking(&["default"]))
    );
    let refused = x509.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(
        refused.message().contains("spiffe://example.org/payments"),
        "{refused}"
    );
    assert_eq!(json.status, 503, "{}", json.body);
    assert!(json.body.contains("/payments") && !json.body.contains("/metrics"));
    assert_eq!(sds.unwrap_err().code(), Code::Unavailable);
    let mut client = node.client().await;
    let jwt = tokens::fetch(&mut client, &["x"], "").await.unwrap_err();
    assert_eq!(jwt.code(), Code::Unavailable, "{jwt}");
    node.stop().await.unwrap();
}
