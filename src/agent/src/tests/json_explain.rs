//! Explain: a process learns about itself alone, an admin about any process.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::json_api::get;
use super::node::{Node, entry, entry_for, eventually, within};
use super::workload_api::ready;

async fn admin(node: &Node, path: &str) -> (u16, serde_json::Value) {
    let socket = &node.core.settings.config.admin_socket;
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn uid() -> String {
    format!("unix:uid:{}", rustix::process::geteuid().as_raw())
}

#[tokio::test]
async fn a_process_learns_about_itself_alone() {
    let (server, node, _dir) = ready().await;
    let said = get(&node, "/v1/explain/me", &[]).await.json();
    assert_eq!(said["entries"], serde_json::json!([]));
    assert!(
        said["verdict"]
            .as_str()
            .unwrap()
            .contains("no entry matches")
    );
    server.put(&entry("mine", "/a"));
    server.put(&entry_for(
        "foreign-entry",
        "/foreign",
        "unix:uid:4294967294",
        "",
    ));
    server.put(&entry_for("near-entry", "/near", "unix:path:/bin/near", ""));
    eventually("the entries are there", || {
        node.core.hub.counts().entries == 3
    })
    .await;
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 3
    })
    .await;
    let answer = get(&node, "/v1/explain/me", &[]).await;
    for word in ["foreign", "near", "4294967294"] {
        assert!(!answer.body.contains(word), "{word}: {}", answer.body);
    }
    let said = answer.json();
    assert_eq!(said["attested"], true);
    assert_eq!(said["process"]["pid"], std::process::id());
    assert_eq!(said["attestors"][0]["name"], "unix");
    let selectors = said["attestors"][0]["selectors"].as_array().unwrap();
    assert!(selectors.iter().any(|s| *s == *uid()), "{selectors:?}");
    assert_eq!(said["entries"].as_array().unwrap().len(), 1);
    assert_eq!(said["entries"][0]["spiffe_id"], "spiffe://example.org/a");
    assert!(said["entries"][0]["x509_svid_expires_at"].as_i64().unwrap() > node.core.now().0);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_admin_sees_what_nearly_matched_and_what_is_missing() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("mine", "/a"));
    server.put(&entry_for("other", "/other", "unix:uid:4294967294", ""));
    eventually("the entries are there", || {
        node.core.hub.counts().entries == 2
    })
    .await;
    // A process of its own, which never connects.
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let pid = child.id();
    let (status, said) = admin(&node, &format!("/v1/explain/pid/{pid}")).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(said["process"]["pid"], pid);
    assert_eq!(said["attested"], true, "{said}");
    assert_eq!(said["entries"][0]["spiffe_id"], "spiffe://example.org/a");
    let near = &said["near_misses"][0];
    assert_eq!(near["spiffe_id"], "spiffe://example.org/other", "{said}");
    assert_eq!(near["missing"][0]["selector"], "unix:uid:4294967294");
    assert_eq!(near["missing"][0]["process_has"][0], *uid());
    assert_eq!(said["agent"]["spiffe_id"], super::fake_server::AGENT);
    assert_eq!(said["server"]["reachable"], true, "{said}");
    assert_eq!(said["view"]["entries"], 2);
    assert!((said["view"]["since"].as_i64().unwrap() - node.core.now().0).abs() < 60);
    child.kill().unwrap();
    child.wait().unwrap();
    let (status, gone) = admin(&node, &format!("/v1/explain/pid/{pid}")).await;
    assert_eq!(status, 404, "{gone}");
    let path = format!("/v1/explain/pid/{}", std::process::id());
    assert_eq!(
        get(&node, &path, &[]).await.status,
        404,
        "not for workloads"
    );
    for (bad, expected) in [("0", 403), ("4294967295", 404), ("x", 400), ("-1", 400)] {
        let (status, said) = admin(&node, &format!("/v1/explain/pid/{bad}")).await;
        assert_eq!(status, expected, "{bad}: {said}");
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_explained_is_what_a_call_would_be_attested_as() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("mine", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let me = get(&node, "/v1/explain/me", &[]).await.json();
    let (_, pid) = admin(&node, &format!("/v1/explain/pid/{}", std::process::id())).await;
    for member in [
        "process",
        "attested",
        "strength",
        "attestors",
        "entries",
        "verdict",
    ] {
        assert_eq!(me[member], pid[member], "{member}");
    }
    node.stop().await.unwrap();
}
