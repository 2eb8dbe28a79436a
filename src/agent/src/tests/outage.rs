//! While the server is away: every unexpired SVID is served, also by an agent
//! that restarts, and nothing that has expired (I11).

use std::os::unix::fs::PermissionsExt as _;

use api::workload::{JwtsvidRequest, X509svidRequest, X509svidResponse};
use identity::Seconds;
use tonic::Code;

use super::fake_server::FakeServer;
use super::node::{Node, config, entry, eventually, within};
use crate::clock::Clock;
use crate::config::Config;

async fn fetch(node: &Node) -> Result<X509svidResponse, tonic::Status> {
    let mut client = node.client().await;
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await?
        .into_inner();
    within(stream.message()).await.map(Option::unwrap)
}

/// An agent that held an SVID, stopped, with its server gone.
async fn after_an_outage(
    clock: &Clock,
    change: impl Fn(&mut Config),
) -> (X509svidResponse, Config, tempfile::TempDir) {
    let mut server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    change(&mut config);
    let node = Node::start(config.clone(), clock).await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let held = fetch(&node).await.unwrap();
    server.stop().await;
    assert_eq!(
        fetch(&node).await.unwrap(),
        held,
        "a running agent serves on"
    );
    node.stop().await.unwrap();
    config.join_token = None;
    (held, config, dir)
}

#[tokio::test]
async fn an_agent_restarted_without_its_server_serves_what_it_held() {
    let clock = Clock::manual(Clock::system().now());
    let (held, config, _dir) = after_an_outage(&clock, |_| {}).await;
    let node = Node::start(config, &clock).await;
    assert_eq!(fetch(&node).await.unwrap(), held);
    let request = JwtsvidRequest {
        audience: vec!["x".into()],
        ..Default::default()
    };
    let jwt = node
        .client()
        .await
        .fetch_jwtsvid(request)
        .await
        .unwrap_err();
    assert_eq!(
        jwt.code(),
        Code::Unavailable,
        "a token would have to be issued"
    );
    // Past its end an SVID is served by nobody.
    clock.advance(Seconds(3601));
    node.core.hub.due.notify_one();
    eventually("the SVID is gone", || {
        node.core.hub.counts().x509_svids == 0
    })
    .await;
    let expired = fetch(&node).await.unwrap_err();
    assert_eq!(expired.code(), Code::Unavailable);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_sealed_serves_with_its_key_only() {
    let clock = Clock::system();
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("seal");
    std::fs::write(&key, b"a credential of the platform").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let seal = |config: &mut Config| config.storage.seal_key_file = Some(key.clone());
    let (held, config, dir) = after_an_outage(&clock, seal).await;
    for file in ["agent.json", "workloads.bin", "bundle.bin"] {
        let bytes = std::fs::read(dir.path().join("data").join(file)).unwrap();
        assert!(bytes.starts_with(b"bulla-sealed-1"), "{file} is not sealed");
    }
    let node = Node::start(config.clone(), &clock).await;
    assert_eq!(fetch(&node).await.unwrap(), held);
    node.stop().await.unwrap();
    let mut without = config;
    without.storage.seal_key_file = None;
    let refused = super::node::prepare(without, &clock).await.err().unwrap();
    assert!(refused.to_string().contains("seal_key_file"), "{refused}");
}

#[tokio::test]
async fn an_admin_may_keep_workload_svids_off_the_disk() {
    let clock = Clock::system();
    let (_, config, dir) =
        after_an_outage(&clock, |config| config.storage.keep_workload_svids = false).await;
    assert!(!dir.path().join("data/workloads.bin").exists());
    let node = Node::start(config, &clock).await;
    assert_eq!(fetch(&node).await.unwrap_err().code(), Code::Unavailable);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_comes_back_to_a_server_that_comes_back() {
    let clock = Clock::system();
    let mut server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    server.stop().await;
    eventually("it is said that the server is away", || {
        !node.core.health.problems().is_empty()
    })
    .await;
    server.put(&entry("e1", "/a"));
    server.come_back().await;
    assert_eq!(
        {
            eventually("the SVID is there", || {
                node.core.hub.counts().x509_svids == 1
            })
            .await;
            fetch(&node).await.unwrap().svids.len()
        },
        1
    );
    eventually("nothing is amiss", || {
        node.core.health.problems().is_empty()
    })
    .await;
    node.stop().await.unwrap();
}
