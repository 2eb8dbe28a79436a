//! What streams are pushed, and when they end.

use api::sync::directive::Kind;
use api::sync::{self, follow_response};
use api::workload::{JwtBundlesRequest, X509BundlesRequest, X509svidRequest, X509svidResponse};
use identity::EntryId;
use tonic::{Code, Status, Streaming};

use super::fake_server::FakeServer;
use super::node::{Node, entry, entry_for, eventually, until, within};
use super::workload_api::ready;
use crate::run::RunError;

async fn open(node: &Node) -> Streaming<X509svidResponse> {
    let call = async { node.client().await.fetch_x509svid(X509svidRequest {}).await };
    within(call).await.unwrap().into_inner()
}

fn ids(response: &X509svidResponse) -> Vec<&str> {
    response
        .svids
        .iter()
        .map(|svid| svid.spiffe_id.as_str())
        .collect()
}

async fn next(stream: &mut Streaming<X509svidResponse>) -> X509svidResponse {
    within(stream.message())
        .await
        .unwrap()
        .expect("the stream ended")
}

async fn end(stream: &mut Streaming<X509svidResponse>) -> Status {
    within(stream.message()).await.unwrap_err()
}

/// An entry that the agent knows to be there.
async fn put(server: &FakeServer, node: &Node, id: &str, path: &str) {
    server.put(&entry(id, path));
    let id = EntryId::parse(id).unwrap();
    eventually("the SVID is there", || {
        let inventory = node.core.hub.inventory();
        inventory
            .iter()
            .any(|(e, expiry)| e.id == id && expiry.is_some())
    })
    .await;
}

#[tokio::test]
async fn the_full_set_is_pushed_on_each_change_until_nothing_is_left() {
    let (server, node, _dir) = ready().await;
    put(&server, &node, "e1", "/a").await;
    let mut stream = open(&node).await;
    let first = next(&mut stream).await;
    assert_eq!(ids(&first), ["spiffe://example.org/a"]);
    let svid = &first.svids[0];
    let bundle = server.state.authority.bundle(1);
    let verified = verify::verify_x509_svid(&[&svid.x509_svid], &bundle, node.core.now()).unwrap();
    assert_eq!(verified.spiffe_id.as_str(), svid.spiffe_id);
    assert_eq!(svid.bundle, server.state.authority.root());
    let key = keys::MemorySigner::from_pkcs8(&svid.x509_svid_key).unwrap();
    let spki = keys::Signer::public_key(&key).spki_der().to_vec();
    assert_eq!(crate::enrol::leaf_key(&svid.x509_svid).unwrap(), spki);
    // A new entry reaches the waiting stream, after the older one.
    server.put(&entry("e2", "/b"));
    let both = next(&mut stream).await;
    assert_eq!(
        ids(&both),
        ["spiffe://example.org/a", "spiffe://example.org/b"]
    );
    assert_eq!(
        both.svids[0], first.svids[0],
        "what did not change is the same"
    );
    // The older one goes.
    server.remove(&EntryId::parse("e1").unwrap());
    assert_eq!(ids(&next(&mut stream).await), ["spiffe://example.org/b"]);
    // All are gone: the stream ends, and clients know by the text what it means.
    server.remove(&EntryId::parse("e2").unwrap());
    let ended = end(&mut stream).await;
    assert_eq!(
        (ended.code(), ended.message()),
        (Code::PermissionDenied, "no identity issued")
    );
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_admin_steers_which_identity_is_the_default() {
    let (server, node, _dir) = ready().await;
    put(&server, &node, "old", "/old").await;
    let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
    server.put(&entry_for("new", "/new", &uid, "default"));
    let mut stream = open(&node).await;
    let mut response = next(&mut stream).await;
    while response.svids.len() < 2 {
        response = next(&mut stream).await;
    }
    assert_eq!(
        ids(&response),
        ["spiffe://example.org/new", "spiffe://example.org/old"]
    );
    node.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_is_pushed_when_nothing_changed_for_the_caller() {
    let (server, node, _dir) = ready().await;
    put(&server, &node, "e1", "/a").await;
    let mut stream = open(&node).await;
    next(&mut stream).await;
    // A stranger's entry, a heartbeat, and a new JWT key: no news for this stream.
    server.put(&entry_for("other", "/other", "unix:uid:4000000000", ""));
    server.tell(follow_response::Message::Heartbeat(
        sync::Heartbeat::default(),
    ));
    server.publish(2);
    until(&server.state.acks, |ack| ack.bundle_sequence_delivered == 2).await;
    // The next thing it hears is the change that concerns it.
    server.put(&entry("e2", "/b"));
    assert_eq!(next(&mut stream).await.svids.len(), 2);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn bundle_streams_get_the_own_bundle_and_each_new_one() {
    let (server, node, _dir) = ready().await;
    put(&server, &node, "e1", "/a").await;
    let mut client = node.client().await;
    let mut x509 = client
        .fetch_x509_bundles(X509BundlesRequest {})
        .await
        .unwrap()
        .into_inner();
    let first = within(x509.message()).await.unwrap().unwrap();
    assert_eq!(
        first.bundles["spiffe://example.org"],
        server.state.authority.root()
    );
    let mut jwt = client
        .fetch_jwt_bundles(JwtBundlesRequest {})
        .await
        .unwrap()
        .into_inner();
    let keys = |response: &api::workload::JwtBundlesResponse| {
        let json: serde_json::Value =
            serde_json::from_slice(&response.bundles["spiffe://example.org"]).unwrap();
        json["keys"].as_array().unwrap().len()
    };
    assert_eq!(keys(&within(jwt.message()).await.unwrap().unwrap()), 1);
    server.publish(2);
    assert_eq!(keys(&within(jwt.message()).await.unwrap().unwrap()), 2);
    // Stored, and delivered to every open stream.
    let ack = until(&server.state.acks, |ack| ack.bundle_sequence_delivered == 2).await;
    assert_eq!(ack.bundle_sequence_stored, 2);
    // A bundle never goes back.
    server.publish(1);
    server.publish(3);
    until(&server.state.acks, |ack| ack.bundle_sequence_stored == 3).await;
    assert_eq!(keys(&within(jwt.message()).await.unwrap().unwrap()), 2);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn federated_bundles_come_and_go_with_the_entry_and_the_server() {
    let (server, node, _dir) = ready().await;
    let friend = identity::TrustDomain::parse("friend.example").unwrap();
    let ours = identity::TrustDomain::parse("example.org").unwrap();
    let mut fields = identity::Entry::clone(&entry("e1", "/a")).into_fields();
    fields.federates_with = vec![friend.clone()];
    let federating = std::sync::Arc::new(identity::Entry::new(fields, &ours).unwrap());
    server.put(&federating);
    let own = server.state.authority.bundle(1);
    let theirs = identity::Bundle {
        trust_domain: friend,
        ..own.clone()
    };
    let bundles = |federated: &[&identity::Bundle]| {
        let wire = |bundle: &identity::Bundle| api::convert::bundle_to_wire(bundle, None);
        follow_response::Message::Bundles(sync::Bundles {
            own: Some(wire(&own)),
            federated: federated.iter().map(|b| wire(b)).collect(),
            access_keys: Vec::new(),
        })
    };
    server.tell(bundles(&[&theirs]));
    let mut stream = open(&node).await;
    let mut response = next(&mut stream).await;
    while response.federated_bundles.is_empty() {
        response = next(&mut stream).await;
    }
    let names: Vec<&String> = response.federated_bundles.keys().collect();
    assert_eq!(names, ["spiffe://friend.example"]);
    // A redacted bundle is gone from the next full set.
    server.tell(bundles(&[]));
    assert!(next(&mut stream).await.federated_bundles.is_empty());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_ban_ends_streams_wipes_the_node_and_stops_the_agent() {
    let (server, node, dir) = ready().await;
    put(&server, &node, "e1", "/a").await;
    let mut stream = open(&node).await;
    next(&mut stream).await;
    server.order(Kind::Banned);
    let ended = end(&mut stream).await;
    assert_eq!(
        (ended.code(), ended.message()),
        (Code::PermissionDenied, "no identity issued")
    );
    let outcome = node.ended().await.unwrap_err();
    assert!(matches!(outcome, RunError::Banned(_)), "{outcome}");
    for file in ["agent.json", "workloads.bin"] {
        assert!(
            !dir.path().join("data").join(file).exists(),
            "{file} was left"
        );
    }
}

#[tokio::test]
async fn an_agent_that_cannot_attest_again_says_so_and_serves_on() {
    let (server, node, _dir) = ready().await;
    put(&server, &node, "e1", "/a").await;
    server.order(Kind::Reattest);
    // Its token was used, so the server refuses it.
    eventually("the problem is told of", || {
        let problems = node.core.health.problems();
        problems
            .iter()
            .any(|(_, p)| p.reason.contains("bulla token create"))
    })
    .await;
    assert_eq!(next(&mut open(&node).await).await.svids.len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_poison_entry_costs_only_its_own_workload() {
    let (server, node, _dir) = ready().await;
    let mut poison = api::convert::entry_to_wire(&entry("bad", "/bad"), None);
    poison.selectors.clear();
    server.tell(follow_response::Message::Delta(sync::Delta {
        position: bytes::Bytes::from_static(b"p"),
        put: vec![poison],
        ..Default::default()
    }));
    put(&server, &node, "e1", "/a").await;
    assert_eq!(
        ids(&next(&mut open(&node).await).await),
        ["spiffe://example.org/a"]
    );
    assert!(node.core.hub.held().is_some());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_ends_open_streams_at_once() {
    let (server, node, _dir) = ready().await;
    put(&server, &node, "e1", "/a").await;
    let mut stream = open(&node).await;
    next(&mut stream).await;
    let stopped = node.stop();
    let (ended, outcome) = tokio::join!(end(&mut stream), stopped);
    assert_eq!(ended.code(), Code::Unavailable);
    outcome.unwrap();
}
