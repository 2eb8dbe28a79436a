//! An attestor that does not answer closes what depends on it, and nothing else.

use api::workload::{JwtsvidRequest, X509svidRequest};
use tempfile::TempDir;
use tonic::{Code, Status};

use super::fake_server::FakeServer;
use super::node::{Node, config, entry, entry_for, eventually, within};
use crate::clock::Clock;
use crate::config::ExternalConfig;

/// An agent with a plug-in that never runs.
async fn start() -> (FakeServer, Node, TempDir) {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.attestors.external = vec![ExternalConfig {
        name: "rack".into(),
        path: "/bin/true".into(),
        sha256: "ab".repeat(32),
        config: String::new(),
        optional: false,
    }];
    let node = Node::start(config, &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    (server, node, dir)
}

async fn first_of(node: &Node) -> Result<Vec<String>, Status> {
    let mut client = node.client().await;
    let stream = within(client.fetch_x509svid(X509svidRequest {})).await?;
    let message = within(stream.into_inner().message()).await?.unwrap();
    Ok(message.svids.into_iter().map(|s| s.spiffe_id).collect())
}

async fn known(node: &Node, entries: usize) {
    eventually("the entries are there", || {
        node.core.hub.counts().entries == entries
    })
    .await;
}

#[tokio::test]
async fn an_attestor_that_is_away_closes_what_depends_on_it_and_nothing_else() {
    let (server, node, _dir) = start().await;
    let refused = first_of(&node).await.unwrap_err();
    assert_eq!(
        refused.code(),
        Code::PermissionDenied,
        "nothing depends on it"
    );

    server.put(&entry_for("racked", "/racked", "rack:row:7", ""));
    known(&node, 1).await;
    let refused = first_of(&node).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("the attestor rack"), "{refused}");

    // What comes first may be the other.
    server.put(&entry("mine", "/mine"));
    known(&node, 2).await;
    let refused = first_of(&node).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    // Who asks for one identity does not depend on that.
    let named = JwtsvidRequest {
        audience: vec!["a".into()],
        spiffe_id: "spiffe://example.org/mine".into(),
    };
    let tokens = node.client().await.fetch_jwtsvid(named).await.unwrap();
    assert_eq!(tokens.into_inner().svids.len(), 1);

    // An admin says which identity is the default.
    let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
    server.put(&entry_for("first", "/first", &uid, "default"));
    known(&node, 3).await;
    let given = first_of(&node).await.unwrap();
    assert_eq!(
        given,
        ["spiffe://example.org/first", "spiffe://example.org/mine"]
    );
    node.stop().await.unwrap();
}
