//! Whom the agent trusts first, and what its token is good for.

use identity::Timestamp;

use crate::clock::Clock;
use crate::config::Config;
use crate::enrol::EnrolError;
use crate::run::RunError;

use super::authority::Authority;
use super::fake_server::{AGENT, FakeServer};
use super::node::{Node, config, eventually, prepare};

fn refusal(error: RunError) -> EnrolError {
    match error {
        RunError::Enrol(error) => error,
        other => panic!("refused for another reason: {other}"),
    }
}

#[tokio::test]
async fn without_a_pin_or_bundle_the_agent_refuses_and_says_how_to_get_one() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.trust.bundle_sha256.clear();
    let refused = prepare(config, &clock).await.err().unwrap();
    assert!(
        refused.to_string().contains("bulla token create"),
        "{refused}"
    );
    assert!(matches!(refusal(refused), EnrolError::NoAnchor));
}

#[tokio::test]
async fn without_a_token_the_agent_refuses_and_says_how_to_get_one() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.join_token = None;
    let refused = prepare(config, &clock).await.err().unwrap();
    assert!(
        refused.to_string().contains("bulla token create"),
        "{refused}"
    );
    assert!(matches!(refusal(refused), EnrolError::NoToken(_)));
}

#[tokio::test]
async fn a_server_that_does_not_match_the_pin_never_sees_the_token() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = config(&server, &dir);
    wrong.trust.bundle_sha256 = vec!["00".repeat(32)];
    let node = Node::start(wrong, &clock).await;
    let refused = refusal(node.ended().await.unwrap_err());
    assert!(
        matches!(refused, EnrolError::PinMismatch { .. }),
        "{refused}"
    );
    // The token is still good: it was not sent.
    let node = Node::start(config(&server, &dir), &clock).await;
    eventually("the agent is enrolled", || node.core.has_valid_identity()).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_the_pinned_authority_that_is_not_the_servers_is_refused() {
    let clock = Clock::system();
    let server = FakeServer::start_as(clock.clone(), "spiffe://example.org/some/workload").await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    let refused = refusal(node.ended().await.unwrap_err());
    assert!(matches!(refused, EnrolError::NotTheServer(_)), "{refused}");
}

#[tokio::test]
async fn a_bundle_file_does_as_well_as_a_pin_and_a_used_token_is_explained() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut by_file = config(&server, &dir);
    by_file.trust.bundle_sha256.clear();
    let pem = dir.path().join("bundle.json");
    let bundle = server.state.authority.bundle(1);
    std::fs::write(&pem, verify::bundle_format::encode(&bundle)).unwrap();
    by_file.trust.bundle_file = Some(pem);
    let node = Node::start(by_file.clone(), &clock).await;
    eventually("the agent is enrolled", || node.core.has_valid_identity()).await;
    assert_eq!(node.core.own().unwrap().svid.spiffe_id.as_str(), AGENT);
    node.stop().await.unwrap();
    // Another node with the same token.
    let other = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &other), &clock).await;
    let refused = refusal(node.ended().await.unwrap_err());
    assert!(matches!(refused, EnrolError::Evidence(_)), "{refused}");
    assert!(
        refused.to_string().contains("bulla token create"),
        "{refused}"
    );
    assert!(!refused.to_string().contains(super::fake_server::TOKEN));
}

#[tokio::test]
async fn a_restart_needs_no_token_and_no_pin() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    eventually("the agent is enrolled", || node.core.has_valid_identity()).await;
    node.stop().await.unwrap();
    let mut bare = config(&server, &dir);
    bare.join_token = None;
    bare.trust.bundle_sha256.clear();
    let node = Node::start(bare, &clock).await;
    assert_eq!(node.core.own().unwrap().svid.spiffe_id.as_str(), AGENT);
    eventually("the server is followed", || node.core.hub.is_ready()).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_starts_before_its_server_waits_for_it() {
    let clock = Clock::system();
    let mut server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    server.stop().await;
    let node = Node::start(config(&server, &dir), &clock).await;
    let status = node
        .client()
        .await
        .fetch_x509svid(api::workload::X509svidRequest {})
        .await;
    assert_eq!(status.unwrap_err().code(), tonic::Code::Unavailable);
    server.come_back().await;
    eventually("the agent is enrolled", || node.core.has_valid_identity()).await;
    node.stop().await.unwrap();
}

/// An agent that enrolled by a pin at a server whose root has been removed since, without
/// its SVID: what listens there now is certified by the stale root alone.
async fn after_the_root_was_removed(
    clock: &Clock,
    roots: &Authority,
) -> (FakeServer, Config, tempfile::TempDir) {
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let config = config(&server, &dir);
    let node = Node::start(config.clone(), clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    server.replace_roots(2, roots);
    eventually("the bundle is taken over", || {
        node.core.hub.own_bundle().unwrap().sequence == 2
    })
    .await;
    node.stop().await.unwrap();
    for kept in ["agent.json", "workloads.bin"] {
        std::fs::remove_file(dir.path().join("data").join(kept)).unwrap();
    }
    server.renew_token();
    (server, config, dir)
}

#[tokio::test]
async fn a5_a_removed_root_is_not_trusted_again_by_way_of_a_pin_or_a_bundle_file() {
    let clock = Clock::system();
    let roots = Authority::new(clock.now());
    let (server, mut config, dir) = after_the_root_was_removed(&clock, &roots).await;
    let stale = dir.path().join("bundle.json");
    let bundle = server.state.authority.bundle(1);
    std::fs::write(&stale, verify::bundle_format::encode(&bundle)).unwrap();
    config.trust.bundle_file = Some(stale);
    let node = Node::start(config.clone(), &clock).await;
    let refused = refusal(node.ended().await.unwrap_err());
    assert!(matches!(refused, EnrolError::Link(_)), "{refused}");
    assert!(server.token_is_unused(), "the token was sent to it");
    // An operator who knows better says so.
    config.trust.replace_stored_bundle = true;
    let node = Node::start(config, &clock).await;
    eventually("the agent is enrolled", || node.core.has_valid_identity()).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a5_a_pin_counts_again_when_the_stored_bundle_has_expired_whole() {
    let clock = Clock::system();
    let now = clock.now();
    let roots = Authority::new(Timestamp(now.0 - 864_001));
    let (server, config, _dir) = after_the_root_was_removed(&clock, &roots).await;
    let node = Node::start(config, &clock).await;
    eventually("the agent is enrolled", || node.core.has_valid_identity()).await;
    assert!(!server.token_is_unused());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a10_attesting_again_keeps_the_keys_of_access_tokens() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    server.publish_access_key(1);
    let keys = || node.core.hub.own_bundle().unwrap().access_keys.clone();
    eventually("the keys are there", || !keys().is_empty()).await;
    server.renew_token();
    let (_own, bundle) = node
        .core
        .enroller()
        .enrol("the test says so")
        .await
        .unwrap();
    assert_eq!(bundle.access_keys, keys());
    node.stop().await.unwrap();
}
