//! Lists of revocations as an agent hears of them: the newest that is signed counts,
//! over a restart, and whoever polls is told.

use std::sync::Arc;

use api::sync::Revocations;
use api::sync::follow_response::Message;
use api::workload::{JwtsvidRequest, ValidateJwtsvidRequest};
use bytes::Bytes;

use super::fake_server::FakeServer;
use super::json_api::get;
use super::node::{Node, config, entry, eventually, within};
use crate::clock::Clock;

const WHO: &str = "spiffe://example.org/a";

fn say(server: &FakeServer, list: String) {
    let crls = vec![Bytes::from_static(b"crl")];
    server.tell(Message::Revocations(Revocations { list, crls }));
}

fn sequence(node: &Node) -> u64 {
    let news = node.core.hub.newest_revocations();
    news.map_or(0, |news| news.revocations.sequence())
}

async fn token(node: &Node) -> String {
    let request = JwtsvidRequest {
        audience: vec!["x".into()],
        ..Default::default()
    };
    let answer = node.client().await.fetch_jwtsvid(request).await.unwrap();
    answer.into_inner().svids.remove(0).svid
}

async fn is_valid(node: &Node, svid: &str) -> bool {
    let request = ValidateJwtsvidRequest {
        audience: "x".into(),
        svid: svid.into(),
    };
    let answer = node.client().await.validate_jwtsvid(request).await;
    answer.is_ok_and(|answer| answer.into_inner().spiffe_id == WHO)
}

#[tokio::test]
async fn the_newest_signed_list_counts_also_after_a_restart_without_the_server() {
    let clock = Clock::manual(Clock::system().now());
    let mut server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    let node = Arc::new(Node::start(config.clone(), &clock).await);
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let svid = token(&node).await;
    assert!(is_valid(&node, &svid).await);
    let none = get(&node, "/v1/revocations", &[]).await;
    assert_eq!(none.status, 503, "{}", none.body);
    let authority = &server.state.authority;
    say(&server, authority.revocations(5, &[], clock.now()));
    eventually("the first list", || sequence(&node) == 5).await;
    let first = get(&node, "/v1/revocations", &[]).await;
    let tag = format!("If-None-Match: {}", first.header("etag").unwrap());
    let polled = Arc::clone(&node);
    let watchers = node.core.hub.watchers();
    let poll =
        tokio::spawn(
            async move { get(&polled, "/v1/revocations", &[&tag, "Prefer: wait=20"]).await },
        );
    eventually("it waits", || node.core.hub.watchers() > watchers).await;
    let newest = authority.revocations(7, &[WHO], clock.now());
    say(&server, newest.clone());
    let told = within(poll).await.unwrap();
    assert_eq!(told.status, 200);
    assert!(told.body.contains(&newest), "{}", told.body);
    assert!(!is_valid(&node, &svid).await, "it was issued before");
    // Neither an old list, nor one that somebody changed, takes that back.
    let forged = {
        let other = super::authority::Authority::new(clock.now());
        other.revocations(9, &[], clock.now())
    };
    for bad in [
        authority.revocations(6, &[], clock.now()),
        forged,
        newest.replace('.', ".."),
    ] {
        say(&server, bad);
    }
    let last = authority.revocations(8, &[WHO], clock.now());
    say(&server, last);
    eventually("the last list", || sequence(&node) == 8).await;
    assert!(!is_valid(&node, &svid).await);
    server.stop().await;
    let node = Arc::into_inner(node).expect("nobody polls any more");
    node.stop().await.unwrap();
    config.join_token = None;
    let node = Node::start(config, &clock).await;
    assert_eq!(sequence(&node), 8);
    assert!(!is_valid(&node, &svid).await);
    node.stop().await.unwrap();
}

/// What was revoked is not accepted again because a file is gone or damaged.
#[tokio::test]
async fn c13_without_its_list_an_agent_finds_nothing_valid_until_its_server_is_heard() {
    let clock = Clock::manual(Clock::system().now());
    let mut server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    let node = Node::start(config.clone(), &clock).await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let svid = token(&node).await;
    let authority = &server.state.authority;
    say(&server, authority.revocations(5, &[WHO], clock.now()));
    eventually("the list", || sequence(&node) == 5).await;
    assert!(!is_valid(&node, &svid).await);
    node.stop().await.unwrap();
    server.stop().await;
    config.join_token = None;
    let list = dir.path().join("data/revocations.bin");
    for damage in [None, Some(b"\xff\xff")] {
        match damage {
            None => std::fs::remove_file(&list).unwrap(),
            Some(bytes) => std::fs::write(&list, bytes).unwrap(),
        }
        let node = Node::start(config.clone(), &clock).await;
        assert!(!is_valid(&node, &svid).await, "{damage:?}");
        let problems = node.core.health.problems();
        let told = |reason: &str| reason.contains("nothing is found valid");
        assert!(problems.iter().any(|(_, problem)| told(&problem.reason)));
        node.stop().await.unwrap();
    }
    // The risk is the operator's to take.
    let mut trusting = config.clone();
    trusting.storage.accept_lost_revocations = true;
    let node = Node::start(trusting, &clock).await;
    assert!(is_valid(&node, &svid).await);
    node.stop().await.unwrap();
    // And once the server has been heard, everything is as before.
    server.come_back().await;
    let node = Node::start(config, &clock).await;
    eventually("the server was heard", || {
        node.core.hub.knows_revocations().is_ok()
    })
    .await;
    node.stop().await.unwrap();
}
