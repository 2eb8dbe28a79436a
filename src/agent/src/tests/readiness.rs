//! Ready is an agent that can serve somebody something, and says what else is amiss.

use identity::Seconds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::fake_server::FakeServer;
use super::node::{Node, config, entry, eventually, within};
use crate::clock::Clock;

/// The status line and body of `/ready`.
async fn ready(node: &Node) -> (bool, String) {
    let socket = &node.core.settings.config.admin_socket;
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    (answer.starts_with("HTTP/1.1 200"), answer)
}

#[tokio::test]
async fn a8_ready_says_no_when_nothing_can_be_served_and_why() {
    let clock = Clock::manual(Clock::system().now());
    let mut server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    server.stop().await;
    let node = Node::start(config(&server, &dir), &clock).await;
    let (is_ready, why) = ready(&node).await;
    assert!(
        !is_ready && why.contains("has not heard from its server"),
        "{why}"
    );
    server.come_back().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    assert!(ready(&node).await.0);
    server.stop().await;
    clock.advance(Seconds(1800));
    let (is_ready, why) = ready(&node).await;
    assert!(is_ready, "an outage is served through: {why}");
    clock.advance(Seconds(1801));
    node.core.hub.due.notify_one();
    let (is_ready, why) = ready(&node).await;
    assert!(!is_ready && why.contains("own SVID is not valid"), "{why}");
    clock.advance(Seconds(864_000));
    let (is_ready, why) = ready(&node).await;
    assert!(
        !is_ready && why.contains("trust bundle has expired"),
        "{why}"
    );
    node.stop().await.unwrap();
}
