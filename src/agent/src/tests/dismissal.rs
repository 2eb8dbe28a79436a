//! An evicted node gives out nothing from the moment its server says so; an outage is no
//! eviction.

use std::sync::atomic::Ordering;

use api::workload::{JwtsvidRequest, X509svidRequest, X509svidResponse};
use tonic::{Code, Status, Streaming};

use super::fake_server::FakeServer;
use super::node::{Node, entry, eventually, within};
use super::workload_api::ready;

async fn open(node: &Node) -> Result<Streaming<X509svidResponse>, Status> {
    let mut client = node.client().await;
    let opened = within(client.fetch_x509svid(X509svidRequest {})).await;
    Ok(opened?.into_inner())
}

/// A node with one identity, and a stream of it that is open.
async fn serving() -> (
    FakeServer,
    Node,
    tempfile::TempDir,
    Streaming<X509svidResponse>,
) {
    let (server, node, dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let mut stream = open(&node).await.unwrap();
    within(stream.message()).await.unwrap().unwrap();
    (server, node, dir, stream)
}

#[tokio::test]
async fn a7_an_evicted_agent_gives_out_no_identity_until_it_has_attested_again() {
    let (server, node, dir, mut stream) = serving().await;
    let file = |name: &str| dir.path().join("data").join(name);
    eventually("what it holds is on disk", || {
        file("workloads.bin").exists()
    })
    .await;
    let request = JwtsvidRequest {
        audience: vec!["x".into()],
        ..Default::default()
    };
    node.client()
        .await
        .fetch_jwtsvid(request.clone())
        .await
        .unwrap();
    server.state.attests_nobody.store(true, Ordering::SeqCst);
    server.evict();
    let ended = within(stream.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended}");
    let refused = open(&node).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let refused = node
        .client()
        .await
        .fetch_jwtsvid(request)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    eventually("it says so", || {
        let reasons = node.core.why_not_ready();
        reasons.iter().any(|reason| reason.contains("evicted"))
    })
    .await;
    eventually("nothing is left for a restart", || {
        !file("workloads.bin").exists() && !file("agent.json").exists()
    })
    .await;
    // It may prove itself anew, where the administrator lets it.
    server.renew_token();
    server.state.attests_nobody.store(false, Ordering::SeqCst);
    eventually("it is admitted", || node.core.hub.is_ready()).await;
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let mut stream = open(&node).await.unwrap();
    assert_eq!(
        within(stream.message()).await.unwrap().unwrap().svids.len(),
        1
    );
    node.stop().await.unwrap();
}

/// The stream may be the last to hear of it.
#[tokio::test]
async fn a7_any_answer_that_the_agent_is_not_known_counts() {
    let (server, node, _dir, mut stream) = serving().await;
    server.state.attests_nobody.store(true, Ordering::SeqCst);
    server.state.knows_no_agent.store(true, Ordering::SeqCst);
    server.put(&entry("e2", "/b"));
    let ended = within(stream.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended}");
    assert!(node.core.hub.is_dismissed());
    node.stop().await.unwrap();
}
