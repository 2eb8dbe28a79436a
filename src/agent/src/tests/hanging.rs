//! A server that hangs costs a workload no more than one that is dead: what is valid
//! is served at once, and who has nothing is told so soon.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use identity::Seconds;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use super::fake_server::FakeServer;
use super::json_polls::stop;
use super::node::{Node, config, entry, eventually, within};
use super::scoped::{CATALOGUE, activate, token};
use super::tokens::fetch;
use crate::clock::Clock;

/// An agent whose clock is set by hand, with one entry whose SVIDs live 100 s.
async fn start(clock: &Clock) -> (FakeServer, Arc<Node>, tempfile::TempDir) {
    let server = FakeServer::start(clock.clone()).await;
    server.state.svid_seconds.store(100, Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), clock).await;
    server.put(&entry("e1", "/a"));
    let held = || node.core.hub.counts().x509_svids == 1;
    eventually("the SVID is there", held).await;
    (server, Arc::new(node), dir)
}

/// Accepts connections where the server was and never says a word on them.
async fn accept_in_silence(address: &str) -> tokio::task::JoinHandle<Vec<TcpStream>> {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            silent.push(stream);
        }
        silent
    })
}

/// What four callers at once are given while the server hangs: a token that is valid,
/// and of another one soon that there is none.
async fn served_as_if_it_were_dead(node: &Node, valid: &str) {
    let client = node.client().await;
    let four = (0..4).map(|_| {
        let mut client = client.clone();
        async move { fetch(&mut client, &["x"], "").await }
    });
    for answer in within(join_all(four)).await {
        assert_eq!(answer.unwrap().svids[0].svid, valid);
    }
    let four = (0..4).map(|_| {
        let mut client = client.clone();
        async move { fetch(&mut client, &["another"], "").await }
    });
    // Together, not one after the other: `within` is shorter than one call to a server.
    for answer in within(join_all(four)).await {
        let refused = answer.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
}

#[tokio::test]
async fn a3_a_server_that_answers_no_call_is_no_worse_than_one_that_is_dead() {
    let clock = Clock::manual(Clock::system().now());
    let (server, node, _dir) = start(&clock).await;
    let mut client = node.client().await;
    let first = fetch(&mut client, &["x"], "").await.unwrap();
    let valid = first.svids[0].svid.clone();
    clock.advance(Seconds(60));
    server.state.hangs.store(true, Ordering::SeqCst);
    served_as_if_it_were_dead(&node, &valid).await;
    // It answers again: the token is renewed behind the callers.
    server.state.hangs.store(false, Ordering::SeqCst);
    within(async {
        while fetch(&mut client, &["x"], "").await.unwrap().svids[0].svid == valid {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(client);
    stop(node).await;
}

#[tokio::test]
async fn c8_a_server_that_accepts_and_never_speaks_is_no_worse_than_one_that_is_dead() {
    let clock = Clock::manual(Clock::system().now());
    let (mut server, node, _dir) = start(&clock).await;
    let mut client = node.client().await;
    let first = fetch(&mut client, &["x"], "").await.unwrap();
    let address = server.address.clone();
    server.stop().await;
    let silent = accept_in_silence(&address).await;
    clock.advance(Seconds(60));
    served_as_if_it_were_dead(&node, &first.svids[0].svid).await;
    silent.abort();
    drop(client);
    stop(node).await;
}

#[tokio::test]
async fn a3_a_scoped_token_that_is_valid_is_served_at_once_and_renewed_behind() {
    let clock = Clock::manual(Clock::system().now());
    let (server, node, _dir) = start(&clock).await;
    activate(&server, "sha256:1", CATALOGUE);
    let known = || node.core.policies.digest() == "sha256:1";
    eventually("the policy set is known", known).await;
    let wish = json!({"audience": "db", "permissions": ["a"]});
    let first = token(&node, &wish, &[]).await;
    assert_eq!(first.status, 200, "{}", first.body);
    clock.advance(Seconds(60));
    server.state.hangs.store(true, Ordering::SeqCst);
    let again = within(token(&node, &wish, &[])).await;
    assert_eq!((again.status, again.body), (200, first.body));
    let another = json!({"audience": "db", "permissions": ["b"]});
    let refused = within(token(&node, &another, &[])).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    stop(node).await;
}

#[tokio::test]
async fn a2_a_workload_that_asks_for_ever_new_audiences_is_held_to_its_budget() {
    let clock = Clock::manual(Clock::system().now());
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.limits.new_token_burst_per_uid = 8;
    config.limits.new_tokens_per_minute_per_uid = 60;
    let node = Node::start(config, &clock).await;
    server.put(&entry("e1", "/a"));
    eventually("the entry is there", || node.core.hub.counts().entries == 1).await;
    let mut client = node.client().await;
    let issued = || server.state.jwt_issued.load(Ordering::SeqCst);
    for n in 0..8 {
        fetch(&mut client, &[&format!("new-{n}")], "")
            .await
            .unwrap();
    }
    let refused = fetch(&mut client, &["one more"], "").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("new_tokens_per_minute_per_uid"));
    assert_eq!(issued(), 8, "the server was asked beyond the budget");
    // What is held costs nothing.
    for n in 0..8 {
        fetch(&mut client, &[&format!("new-{n}")], "")
            .await
            .unwrap();
    }
    clock.advance(Seconds(2));
    fetch(&mut client, &["one more"], "").await.unwrap();
    // Long audiences are refused, and lists of them.
    let long = "x".repeat(1_025);
    let refused = fetch(&mut client, &[&long], "").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let many = vec!["x".repeat(1_000); 9];
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = fetch(&mut client, &many, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    node.stop().await.unwrap();
}
