//! The local JSON API: what a client that speaks nothing but HTTP gets.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tower::ServiceExt;

use super::node::{Node, entry, entry_for, eventually, within};
use super::workload_api::ready;
use crate::json_api::{OPENAPI, ROUTES};

/// An answer, taken apart.
pub(super) struct Said {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Said {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// A problem: its name, after a look at its form.
    pub(super) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let body = self.json();
        assert_eq!(body["status"], self.status);
        for member in ["title", "detail", "next"] {
            assert!(!body[member].as_str().unwrap().is_empty(), "{body}");
        }
        let name = body["type"].as_str().unwrap();
        name.strip_prefix("urn:bulla:problem:").unwrap().to_owned()
    }
}

/// One request over HTTP/1.1, on a connection of its own.
pub(super) async fn ask(
    node: &Node,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Said {
    let socket = &node.core.settings.config.workload_socket;
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let split = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_lowercase(), value.to_owned())
    };
    Said {
        status: status.parse().unwrap(),
        headers: lines.map(split).collect(),
        body: body.to_owned(),
    }
}

pub(super) const HEADER: &str = "workload.spiffe.io: true";

pub(super) async fn get(node: &Node, path: &str, headers: &[&str]) -> Said {
    let headers: Vec<&str> = [HEADER].iter().chain(headers).copied().collect();
    ask(node, "GET", path, &headers, "").await
}

async fn check(node: &Node, body: &Value) -> Said {
    let headers = [HEADER, "Content-Type: application/json"];
    ask(node, "POST", "/v1/check", &headers, &body.to_string()).await
}

async fn one_entry() -> (super::fake_server::FakeServer, Node, tempfile::TempDir) {
    let (server, node, dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    (server, node, dir)
}

#[tokio::test]
async fn an_http_client_gets_what_a_grpc_client_gets() {
    let (_server, node, _dir) = one_entry().await;
    let said = get(&node, "/v1/svid/x509", &[]).await;
    assert_eq!(said.status, 200, "{}", said.body);
    assert_eq!(said.header("cache-control"), Some("no-store"));
    let body = said.json();
    let svid = &body["svids"][0];
    assert_eq!(svid["spiffe_id"], "spiffe://example.org/a");
    let (expiry, renewal) = (
        svid["expires_at"].as_i64().unwrap(),
        svid["renew_at"].as_i64().unwrap(),
    );
    let now = node.core.now().0;
    assert!(
        now < renewal && renewal < expiry,
        "{now} {renewal} {expiry}"
    );
    assert_eq!(
        (&body["expires_at"], &body["renew_at"]),
        (&svid["expires_at"], &svid["renew_at"])
    );
    let grpc = node
        .client()
        .await
        .fetch_x509svid(api::workload::X509svidRequest {})
        .await;
    let grpc = within(grpc.unwrap().into_inner().message())
        .await
        .unwrap()
        .unwrap();
    let der = |text: &Value| {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let all = CertificateDer::pem_slice_iter(text.as_str().unwrap().as_bytes());
        all.flat_map(|one| one.unwrap().to_vec())
            .collect::<Vec<u8>>()
    };
    assert_eq!(der(&svid["x509_svid"]), grpc.svids[0].x509_svid);
    assert_eq!(der(&svid["bundle"]), grpc.svids[0].bundle);
    let key = svid["x509_svid_key"].as_str().unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let bundles = get(&node, "/v1/bundles", &[]).await.json();
    let own = &bundles["bundles"]["spiffe://example.org"];
    assert_eq!(der(&own["x509_authorities"]), grpc.svids[0].bundle);
    assert_eq!(own["jwt_authorities"]["keys"].as_array().unwrap().len(), 1);
    assert_eq!(bundles["trust_domain"], "spiffe://example.org");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn the_same_paths_are_served_over_http_2() {
    let (_server, node, _dir) = one_entry().await;
    let request = http::Request::get("http://localhost/v1/svid/x509")
        .header("workload.spiffe.io", "true")
        .body(tonic::body::Body::empty())
        .unwrap();
    let answer = within(node.channel().await.oneshot(request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = within(answer.into_body().collect()).await.unwrap();
    assert!(body.trailers().is_none(), "this is no gRPC");
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    assert_eq!(body["svids"][0]["spiffe_id"], "spiffe://example.org/a");
    let grpc = http::Request::post("http://localhost/v1/svid/x509")
        .header("workload.spiffe.io", "true")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Full::new(Bytes::from_static(
            b"\0\0\0\0\0",
        ))))
        .unwrap();
    let answer = within(node.channel().await.oneshot(grpc)).await.unwrap();
    assert_eq!(
        answer.headers()["grpc-status"],
        "12",
        "gRPC to a JSON path is unknown"
    );
    node.stop().await.unwrap();
}

#[tokio::test]
async fn every_json_path_demands_the_security_header_first() {
    let (_server, node, _dir) = one_entry().await;
    let bad: [&[&str]; 5] = [
        &[],
        &["workload.spiffe.io: True"],
        &["workload.spiffe.io: 1"],
        &["workload.spiffe.io: true", "workload.spiffe.io: true"],
        &["workload-spiffe-io: true"],
    ];
    let others = [("GET", "/v1/other"), ("DELETE", "/v1/bundles")];
    let all = ROUTES
        .iter()
        .map(|(method, path, ..)| (method.as_str(), *path));
    for (method, path) in all.chain(others) {
        for headers in bad {
            let said = ask(&node, method, path, headers, "").await;
            assert_eq!(
                (said.status, said.problem().as_str()),
                (400, "missing-header"),
                "{path}"
            );
        }
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn mistakes_are_told_apart_and_say_what_to_do() {
    let (_server, node, _dir) = one_entry().await;
    let long = format!("/v1/svid/jwt?audience={}", "x".repeat(8200));
    for (method, path, status, name) in [
        ("GET", "/v1/nothing", 404, "not-found"),
        ("GET", "/", 404, "not-found"),
        ("POST", "/v1/bundles", 405, "method-not-allowed"),
        ("GET", "/v1/check", 405, "method-not-allowed"),
        ("HEAD", "/v1/check", 405, ""),
        ("GET", "/v1/svid/x509?x=1", 400, "bad-request"),
        ("GET", "/v1/svid/jwt", 400, "bad-request"),
        ("GET", "/v1/svid/jwt?audience=", 400, "bad-request"),
        ("GET", "/v1/svid/jwt?aud=x", 400, "bad-request"),
        ("GET", "/v1/svid/jwt?audience=%ff", 400, "bad-request"),
        (
            "GET",
            "/v1/svid/jwt?audience=x&spiffe_id=y",
            400,
            "bad-request",
        ),
        (
            "GET",
            "/v1/svid/jwt?audience=x&spiffe_id=",
            400,
            "bad-request",
        ),
        (
            "GET",
            "/v1/svid/jwt?audience=x&spiffe_id=spiffe://example.org/z",
            403,
            "no-identity",
        ),
        ("GET", long.as_str(), 414, "query-too-long"),
        (
            "GET",
            "/SpiffeWorkloadAPI/FetchX509SVID",
            415,
            "speaks-grpc",
        ),
        ("POST", "/v1/check", 415, "not-json"),
    ] {
        let said = ask(&node, method, path, &[HEADER], "").await;
        assert_eq!(said.status, status, "{path}: {}", said.body);
        if !name.is_empty() {
            assert_eq!(said.problem(), name, "{path}");
        }
        assert_eq!(said.header("allow").is_some(), status == 405, "{path}");
    }
    let large = json!({ "token": "x".repeat(70_000), "audience": "x" });
    assert_eq!(check(&node, &large).await.problem(), "body-too-large");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_process_without_an_entry_is_told_so() {
    let (server, node, _dir) = ready().await;
    server.put(&entry_for("e1", "/a", "unix:uid:4294967294", ""));
    eventually("the entry is there", || node.core.hub.counts().entries == 1).await;
    for path in ["/v1/svid/x509", "/v1/svid/jwt?audience=x", "/v1/bundles"] {
        let said = get(&node, path, &[]).await;
        assert_eq!(
            (said.status, said.problem().as_str()),
            (403, "no-identity"),
            "{path}"
        );
    }
    let said = check(&node, &json!({ "token": "a.b.c", "audience": "x" })).await;
    assert_eq!(said.problem(), "no-identity");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn only_a_valid_credential_is_answered_with_200() {
    let (_server, node, _dir) = one_entry().await;
    let tokens = get(&node, "/v1/svid/jwt?audience=x&audience=y", &[])
        .await
        .json();
    let token = tokens["svids"][0]["jwt_svid"].as_str().unwrap();
    let valid = check(&node, &json!({ "token": token, "audience": "y" })).await;
    assert_eq!(valid.status, 200, "{}", valid.body);
    let valid = valid.json();
    assert_eq!(valid["spiffe_id"], "spiffe://example.org/a");
    assert_eq!(valid["claims"]["aud"], json!(["x", "y"]));
    assert_eq!(valid["expires_at"], tokens["expires_at"]);
    let other = check(&node, &json!({ "token": token, "audience": "z" })).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "not-valid"));
    assert!(
        other.body.contains("not meant for audience"),
        "{}",
        other.body
    );

    let svid = get(&node, "/v1/svid/x509", &[]).await.json();
    let chain = &svid["svids"][0]["x509_svid"];
    let valid = check(&node, &json!({ "certificate_chain": chain })).await;
    assert_eq!(valid.status, 200, "{}", valid.body);
    assert_eq!(valid.json()["spiffe_id"], "spiffe://example.org/a");
    assert_eq!(valid.json()["expires_at"], svid["expires_at"]);
    let base64: String = chain
        .as_str()
        .unwrap()
        .lines()
        .filter(|l| !l.contains("--"))
        .collect();
    let valid = check(&node, &json!({ "certificate_chain": [base64] })).await;
    assert_eq!(valid.status, 200, "{}", valid.body);
    let authority = &svid["svids"][0]["bundle"];
    let refused = check(&node, &json!({ "certificate_chain": authority })).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (422, "not-valid")
    );
    node.stop().await.unwrap();
}

#[tokio::test]
async fn the_openapi_document_is_equal_to_the_routes() {
    let (_server, node, _dir) = one_entry().await;
    let said = get(&node, "/v1/openapi.json", &[]).await;
    assert_eq!((said.status, said.body.as_str()), (200, OPENAPI));
    let document = said.json();
    let mut written = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            written.push((method.to_uppercase(), path.clone(), id.to_owned()));
        }
    }
    let mut served: Vec<(String, String, String)> = ROUTES
        .iter()
        .map(|(method, path, id, _)| (method.to_string(), (*path).to_owned(), (*id).to_owned()))
        .collect();
    written.sort();
    served.sort();
    assert_eq!(written, served);
    let schema = |name: &str| &document["components"]["schemas"][name];
    for (path, name) in [
        ("/v1/svid/x509", "X509Svids"),
        ("/v1/svid/jwt?audience=x", "JwtSvids"),
        ("/v1/bundles", "Bundles"),
        ("/v1/explain/me", "Explanation"),
        ("/v1/nothing", "Problem"),
    ] {
        fits(&get(&node, path, &[]).await.json(), schema(name), path);
    }
    node.stop().await.unwrap();
}

/// Holds the members of a value equal to those that a schema demands, at any depth.
fn fits(value: &Value, schema: &Value, at: &str) {
    if let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        let mut named: Vec<&String> = members.keys().collect();
        let mut demanded: Vec<&str> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap())
            .collect();
        named.sort();
        demanded.sort_unstable();
        assert_eq!(named, demanded, "{at}");
        for (name, member) in members {
            fits(member, &properties[name], &format!("{at}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], &format!("{at}[]"));
    }
}
