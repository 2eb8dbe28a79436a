//! Whom the agent trusts first, and what its token is good for.

use crate::clock::Clock;
use crate::enrol::EnrolError;
use crate::run::RunError;

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
