//! Long polls: nothing newer is 304, something newer comes at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use identity::Seconds;

use super::fake_server::FakeServer;
use super::json_api::{HEADER, ask, get};
use super::node::{Node, config, entry, entry_for, eventually, within};
use super::workload_api::ready;
use crate::clock::Clock;

const POLLED: [&str; 3] = ["/v1/svid/x509", "/v1/svid/jwt?audience=x", "/v1/bundles"];

/// Starts a request and waits until it holds a subscription.
async fn polling(
    node: &Arc<Node>,
    path: &'static str,
    headers: Vec<String>,
) -> tokio::task::JoinHandle<super::json_api::Said> {
    let before = node.core.hub.watchers();
    let polled = Arc::clone(node);
    let task = tokio::spawn(async move {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        get(&polled, path, &headers).await
    });
    eventually("it waits", || node.core.hub.watchers() > before).await;
    task
}

pub(super) async fn stop(node: Arc<Node>) {
    let node = Arc::into_inner(node).expect("nobody polls any more");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_caller_has_already_is_not_sent_again() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    for path in POLLED {
        let first = get(&node, path, &[]).await;
        let tag = first.header("etag").unwrap();
        let condition = format!("If-None-Match: {tag}");
        for headers in [vec![condition.as_str()], vec![&condition, "Prefer: wait=0"]] {
            let again = get(&node, path, &headers).await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
            assert_eq!(again.header("etag"), Some(tag), "{path}");
            assert_eq!(again.header("content-type"), None);
            let applied = (headers.len() == 2).then_some("wait=0");
            assert_eq!(again.header("preference-applied"), applied);
        }
        let other = get(&node, path, &["If-None-Match: \"other\""]).await;
        assert_eq!(
            (other.status, &other.header("etag")),
            (200, &Some(tag)),
            "{path}"
        );
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_poll_ends_as_soon_as_there_is_something_newer() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let node = Arc::new(node);
    let mut polls = Vec::new();
    for path in ["/v1/svid/x509", "/v1/svid/jwt?audience=x"] {
        let tag = get(&node, path, &[])
            .await
            .header("etag")
            .unwrap()
            .to_owned();
        let headers = vec![format!("If-None-Match: {tag}"), "Prefer: wait=60".into()];
        polls.push(polling(&node, path, headers).await);
    }
    server.put(&entry("e2", "/b"));
    for poll in polls {
        let said = within(poll).await.unwrap();
        assert_eq!(said.status, 200, "{}", said.body);
        assert_eq!(said.json()["svids"].as_array().unwrap().len(), 2);
        assert_eq!(said.header("preference-applied"), Some("wait=60"));
    }
    eventually("no subscription is left", || node.core.hub.watchers() == 0).await;
    stop(node).await;
}

#[tokio::test]
async fn a_process_may_wait_for_its_first_identity_and_is_told_when_it_loses_the_last() {
    let (server, node, _dir) = ready().await;
    let node = Arc::new(node);
    let waiting = polling(&node, "/v1/svid/x509", vec!["Prefer: wait=60".into()]).await;
    server.put(&entry("e1", "/a"));
    let said = within(waiting).await.unwrap();
    assert_eq!(said.status, 200, "{}", said.body);
    let tag = said.header("etag").unwrap();
    let headers = vec![format!("If-None-Match: {tag}"), "Prefer: wait=60".into()];
    let waiting = polling(&node, "/v1/svid/x509", headers).await;
    server.remove(&identity::EntryId::parse("e1").unwrap());
    let said = within(waiting).await.unwrap();
    assert_eq!((said.status, said.problem().as_str()), (403, "no-identity"));
    stop(node).await;
}

#[tokio::test]
async fn a_wait_that_ends_without_news_is_304_and_one_without_identity_403() {
    let (server, node, _dir) = ready().await;
    let none = get(&node, "/v1/svid/x509", &["Prefer: wait=1"]).await;
    assert_eq!(none.problem(), "no-identity");
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let said = get(
        &node,
        "/v1/svid/x509",
        &["If-None-Match: *", "Prefer: wait=1"],
    )
    .await;
    assert_eq!(said.status, 304);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_entry_of_another_user_wakes_nobody_with_an_answer() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let node = Arc::new(node);
    let headers = vec!["If-None-Match: *".into(), "Prefer: wait=2".into()];
    let poll = polling(&node, "/v1/svid/x509", headers).await;
    server.put(&entry_for("e2", "/b", "unix:uid:4294967294", ""));
    eventually("the entry is there", || node.core.hub.counts().entries == 2).await;
    assert_eq!(within(poll).await.unwrap().status, 304);
    stop(node).await;
}

#[tokio::test]
async fn a_token_that_has_aged_is_replaced_while_a_poll_waits() {
    let clock = Clock::manual(Clock::system().now());
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Arc::new(Node::start(config(&server, &dir), &clock).await);
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let path = "/v1/svid/jwt?audience=x";
    let first = get(&node, path, &[]).await;
    let body = first.json();
    let life = body["renew_at"].as_i64().unwrap() - clock.now().0;
    // One second before the token ages, so that the poll wakes by its own timer.
    clock.advance(Seconds(u32::try_from(life).unwrap() - 1));
    let headers = vec![
        format!("If-None-Match: {}", first.header("etag").unwrap()),
        "Prefer: wait=60".into(),
    ];
    let poll = polling(&node, path, headers).await;
    clock.advance(Seconds(1));
    let said = within(poll).await.unwrap();
    assert_eq!(said.status, 200, "{}", said.body);
    assert_ne!(
        said.json()["svids"][0]["jwt_svid"],
        body["svids"][0]["jwt_svid"]
    );
    assert_eq!(server.state.jwt_issued.load(Ordering::SeqCst), 2);
    stop(node).await;
}

#[tokio::test]
async fn calls_over_a_users_share_are_429_and_long_polls_count() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.limits.streams_per_uid = 2;
    let node = Arc::new(Node::start(config, &clock).await);
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let headers = || vec!["If-None-Match: *".into(), "Prefer: wait=3".into()];
    let first = polling(&node, "/v1/svid/x509", headers()).await;
    let second = polling(&node, "/v1/svid/x509", headers()).await;
    let third = get(&node, "/v1/svid/x509", &[]).await;
    assert_eq!(
        (third.status, third.problem().as_str()),
        (429, "too-many-calls")
    );
    assert_eq!(third.header("retry-after"), Some("1"));
    for poll in [first, second] {
        assert_eq!(within(poll).await.unwrap().status, 304);
    }
    assert_eq!(get(&node, "/v1/svid/x509", &[]).await.status, 200);
    stop(node).await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_nothing_behind() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let node = Arc::new(node);
    let headers = vec!["If-None-Match: *".into(), "Prefer: wait=60".into()];
    let poll = polling(&node, "/v1/svid/x509", headers).await;
    poll.abort();
    eventually("its subscription ends", || node.core.hub.watchers() == 0).await;
    stop(node).await;
}

#[tokio::test]
async fn a_stopping_agent_ends_its_polls_at_once() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let socket = node.core.settings.config.workload_socket.clone();
    let core = Arc::clone(&node.core);
    let poll = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let request = format!(
            "GET /v1/svid/x509 HTTP/1.1\r\nHost: x\r\n{HEADER}\r\nIf-None-Match: *\r\nPrefer: wait=60\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    eventually("it waits", || core.hub.watchers() == 1).await;
    tokio::time::timeout(Duration::from_secs(5), node.stop())
        .await
        .unwrap()
        .unwrap();
    let answer = within(poll).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("the agent is stopping"), "{answer}");
}

#[tokio::test]
async fn post_without_a_body_and_pipelined_requests_do_no_harm() {
    let (_server, node, _dir) = ready().await;
    let said = ask(
        &node,
        "POST",
        "/v1/check",
        &[HEADER, "Content-Type: application/json"],
        "",
    )
    .await;
    assert_eq!(said.problem(), "bad-request");
    node.stop().await.unwrap();
}
