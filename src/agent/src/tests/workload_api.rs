//! Status codes and the security header, as the SPIFFE standards have them.

use api::workload::{
    JwtBundlesRequest, JwtsvidRequest, ValidateJwtsvidRequest, WitBundlesRequest, WitsvidRequest,
    X509BundlesRequest, X509svidRequest,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;
use tonic::Code;
use tower::ServiceExt;

use super::fake_server::FakeServer;
use super::node::{Client, Node, config, entry, entry_for, eventually, within};
use crate::clock::Clock;

pub(super) async fn ready() -> (FakeServer, Node, TempDir) {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    (server, node, dir)
}

const METHODS: [&str; 9] = [
    "/SpiffeWorkloadAPI/FetchX509SVID",
    "/SpiffeWorkloadAPI/FetchX509Bundles",
    "/SpiffeWorkloadAPI/FetchJWTSVID",
    "/SpiffeWorkloadAPI/FetchJWTBundles",
    "/SpiffeWorkloadAPI/ValidateJWTSVID",
    "/SpiffeWorkloadAPI/FetchWITSVID",
    "/SpiffeWorkloadAPI/FetchWITBundles",
    "/SpiffeWorkloadAPI/Foo",
    "/some.other.Service/Method",
];
/// Their clients cannot be made to send the header; a wrong one is refused all the same.
const WITHOUT_HEADER: [&str; 5] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.health.v1.Health/Check",
    "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
    "/envoy.service.secret.v3.SecretDiscoveryService/Foo",
];

/// The gRPC status of one raw call, and the bytes of its body.
async fn raw(node: &Node, path: &str, header: &[&str]) -> (i32, usize) {
    let mut request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc");
    for value in header {
        request = request.header("workload.spiffe.io", *value);
    }
    let body = tonic::body::Body::new(Full::new(Bytes::from_static(b"\0\0\0\0\0")));
    let answer = within(node.channel().await.oneshot(request.body(body).unwrap()))
        .await
        .unwrap();
    let in_headers = answer.headers().get("grpc-status").cloned();
    let body = within(answer.into_body().collect()).await.unwrap();
    let in_trailers = body.trailers().and_then(|t| t.get("grpc-status").cloned());
    let status = in_headers.or(in_trailers).unwrap();
    (
        status.to_str().unwrap().parse().unwrap(),
        body.to_bytes().len(),
    )
}

#[tokio::test]
async fn every_method_of_every_service_demands_the_header_first() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    let bad: [&[&str]; 6] = [&[], &["True"], &["TRUE"], &["1"], &[""], &["true", "true"]];
    let with_none = METHODS.map(|path| (path, &bad[..]));
    let with_one = WITHOUT_HEADER.map(|path| (path, &bad[1..]));
    for (path, bad) in with_none.into_iter().chain(with_one) {
        for header in bad {
            assert_eq!(
                raw(&node, path, header).await,
                (3, 0),
                "{path} with {header:?}"
            );
        }
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn unknown_methods_and_wit_are_unimplemented() {
    let (_server, node, _dir) = ready().await;
    for path in [
        "/SpiffeWorkloadAPI/Foo",
        "/envoy.service.secret.v3.SecretDiscoveryService/Foo",
        "/some.other.Service/Method",
        "/grpc.reflection.v9.X/Y",
    ] {
        assert_eq!(raw(&node, path, &["true"]).await, (12, 0), "{path}");
    }
    let mut client = node.client().await;
    let wit = client
        .fetch_witsvid(WitsvidRequest::default())
        .await
        .unwrap_err();
    assert_eq!(wit.code(), Code::Unimplemented);
    let wit = client
        .fetch_wit_bundles(WitBundlesRequest {})
        .await
        .unwrap_err();
    assert_eq!(wit.code(), Code::Unimplemented);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn reflection_shows_the_workload_api_and_health_says_serving() {
    let (_server, node, _dir) = ready().await;
    // ServerReflectionRequest{list_services = ""}, and the same of v1alpha.
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answer = exchange(&node, &path, b"\0\0\0\0\x02\x3a\0").await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.contains("SpiffeWorkloadAPI"), "{version}: {text:?}");
    }
    let health = exchange(&node, "/grpc.health.v1.Health/Check", b"\0\0\0\0\0").await;
    assert_eq!(health, b"\0\0\0\0\x02\x08\x01");
    node.stop().await.unwrap();
}

/// The bytes answered to one raw request.
async fn exchange(node: &Node, path: &str, request: &'static [u8]) -> Vec<u8> {
    let body = tonic::body::Body::new(Full::new(Bytes::from_static(request)));
    let request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("workload.spiffe.io", "true")
        .body(body)
        .unwrap();
    let answer = within(node.channel().await.oneshot(request)).await.unwrap();
    within(answer.into_body().collect())
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

async fn refusals(client: &mut Client) -> Vec<tonic::Status> {
    let audience = vec!["a".to_owned()];
    let jwt = JwtsvidRequest {
        audience,
        ..Default::default()
    };
    let validate = ValidateJwtsvidRequest {
        audience: "a".into(),
        svid: "x.y.z".into(),
    };
    vec![
        client.fetch_x509svid(X509svidRequest {}).await.unwrap_err(),
        client
            .fetch_x509_bundles(X509BundlesRequest {})
            .await
            .unwrap_err(),
        client
            .fetch_jwt_bundles(JwtBundlesRequest {})
            .await
            .unwrap_err(),
        client.fetch_jwtsvid(jwt).await.unwrap_err(),
        client.validate_jwtsvid(validate).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn a_process_without_an_entry_is_denied_everything() {
    let (server, node, _dir) = ready().await;
    server.put(&entry_for("other", "/other", "unix:uid:4000000000", ""));
    for status in refusals(&mut node.client().await).await {
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.message(), "no identity issued");
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_admin_may_open_bundles_and_validation_to_all() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.workload_api.allow_unauthenticated_verifiers = true;
    let node = Node::start(config, &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    let mut client = node.client().await;
    let status = client.fetch_x509svid(X509svidRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let mut bundles = client
        .fetch_x509_bundles(X509BundlesRequest {})
        .await
        .unwrap()
        .into_inner();
    let first = within(bundles.message()).await.unwrap().unwrap();
    assert_eq!(
        first.bundles.keys().collect::<Vec<_>>(),
        ["spiffe://example.org"]
    );
    let now = clock.now();
    let token = server.state.authority.token(
        "spiffe://example.org/a",
        &["me".into()],
        now,
        identity::Timestamp(now.0 + 60),
    );
    let wanted = ValidateJwtsvidRequest {
        audience: "me".into(),
        svid: token,
    };
    let valid = client.validate_jwtsvid(wanted).await.unwrap().into_inner();
    assert_eq!(valid.spiffe_id, "spiffe://example.org/a");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_caller_over_its_share_is_told_to_come_back() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.limits.call_burst_per_uid = 3;
    config.limits.calls_per_second_per_uid = 1;
    let node = Node::start(config, &clock).await;
    let mut client = node.client().await;
    let mut messages = Vec::new();
    for _ in 0..8 {
        let refused = client.fetch_x509svid(X509svidRequest {}).await.unwrap_err();
        messages.push(refused.message().to_owned());
    }
    assert!(
        messages.iter().any(|m| m.contains("too many calls")),
        "{messages:?}"
    );
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_oversized_request_is_refused_by_its_length_alone() {
    let (_server, node, _dir) = ready().await;
    let mut client = node.client().await;
    let svid = "x".repeat(70_000);
    let wanted = ValidateJwtsvidRequest {
        audience: "a".into(),
        svid,
    };
    let refused = client.validate_jwtsvid(wanted).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    node.stop().await.unwrap();
}
