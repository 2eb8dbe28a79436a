//! The admin socket, and HTTP on the workload socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::node::{entry, eventually, within};
use super::workload_api::ready;

async fn get(socket: &std::path::Path, path: &str, header: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn the_operator_sees_health_and_inventory_and_no_secret() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let socket = node.core.settings.config.admin_socket.clone();
    assert!(get(&socket, "/live", "").await.starts_with("HTTP/1.1 200"));
    let ready = get(&socket, "/ready", "").await;
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains(r#""reasons":[]"#),
        "{ready}"
    );
    let cache = get(&socket, "/v1/cache", "").await;
    assert!(
        cache.contains(r#""spiffe_id":"spiffe://example.org/a""#),
        "{cache}"
    );
    assert!(!cache.to_lowercase().contains("key"), "{cache}");
    assert!(
        get(&socket, "/v1/other", "")
            .await
            .starts_with("HTTP/1.1 404")
    );
    let mode = std::fs::metadata(&socket).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o600);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn plain_http_on_the_workload_socket_needs_the_header_too() {
    let (_server, node, _dir) = ready().await;
    let socket = node.core.settings.config.workload_socket.clone();
    let without = get(&socket, "/SpiffeWorkloadAPI/FetchX509SVID", "").await;
    assert!(without.starts_with("HTTP/1.1 400"), "{without}");
    let header = "workload.spiffe.io: true\r\n";
    let with = get(&socket, "/SpiffeWorkloadAPI/FetchX509SVID", header).await;
    assert!(with.starts_with("HTTP/1.1 415"), "{with}");
    node.stop().await.unwrap();
}
