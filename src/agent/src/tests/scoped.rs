//! Scoped tokens on the workload socket: a token always comes with the certificate
//! that it is bound to.

use std::sync::Arc;

use api::sync::{self, follow_response};
use api::workload_tokens::TokenRequest;
use api::workload_tokens::tokens_client::TokensClient;
use identity::Seconds;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tonic::Code;

use super::fake_server::FakeServer;
use super::json_api::{HEADER, Said, ask};
use super::json_polls::stop;
use super::node::{Node, entry, eventually, within};
use super::workload_api::ready;

async fn start() -> (FakeServer, Arc<Node>, tempfile::TempDir) {
    let (server, node, dir) = ready().await;
    server.put(&entry("e1", "/a"));
    let held = || node.core.hub.counts().x509_svids == 1;
    eventually("the SVID is there", held).await;
    activate(&server, "sha256:1", CATALOGUE);
    let known = || node.core.policies.digest() == "sha256:1";
    eventually("the policy set is known", known).await;
    (server, Arc::new(node), dir)
}

pub(super) const CATALOGUE: &str =
    "audience: db\nowner: team\nprofiles: [jwt-svid]\npermissions:\n  - name: db:read\n";

pub(super) fn activate(server: &FakeServer, digest: &str, catalogue: &str) {
    server.tell(follow_response::Message::PolicySet(sync::PolicySet {
        digest: digest.into(),
        catalogue: vec![sync::CatalogueFile {
            name: "catalogue/db.yaml".into(),
            text: catalogue.into(),
        }],
        ..Default::default()
    }));
}

pub(super) async fn token(node: &Node, body: &Value, more: &[&str]) -> Said {
    let mut headers = vec![HEADER, "Content-Type: application/json"];
    headers.extend(more);
    ask(node, "POST", "/v1/token", &headers, &body.to_string()).await
}

fn thumbprint(body: &Value) -> Vec<u8> {
    let pem = body["certificate"]["x509_svid"].as_str().unwrap();
    let leaf = CertificateDer::pem_slice_iter(pem.as_bytes())
        .next()
        .unwrap()
        .unwrap();
    digest(&SHA256, &leaf).as_ref().to_vec()
}

fn bound_to(request: &api::token::MintRequest) -> Vec<u8> {
    match request.binding.as_ref().unwrap() {
        api::token::mint_request::Binding::CertificateSha256(hash)
        | api::token::mint_request::Binding::KeyThumbprint(hash) => hash.to_vec(),
    }
}

#[tokio::test]
async fn a_token_comes_with_the_certificate_it_is_bound_to_and_is_asked_for_once() {
    let (server, node, _dir) = start().await;
    let wish = json!({"audience": "db", "permissions": ["b", "a"], "ttl": 60});
    let first = token(&node, &wish, &[]).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let minted = || server.state.minted.borrow().clone();
    let asked = minted().remove(0);
    assert_eq!(thumbprint(&first.json()), bound_to(&asked));
    assert_eq!(
        (asked.permissions, asked.ttl_seconds),
        (vec!["a".into(), "b".into()], 60)
    );
    assert!(
        asked.selectors.iter().any(|s| s.starts_with("unix:uid:")),
        "{:?}",
        asked.selectors
    );
    let again = token(&node, &wish, &[]).await;
    assert_eq!((again.body, minted().len()), (first.body, 1));
    let less = json!({"audience": "db", "permissions": ["a"], "ttl": 60});
    assert_eq!(token(&node, &less, &[]).await.status, 200);
    let own = json!({"audience": "db", "jkt": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"});
    assert_eq!(token(&node, &own, &[]).await.status, 200);
    assert_eq!((minted().len(), bound_to(&minted()[2])), (3, vec![1; 32]));
    stop(node).await;
}

#[tokio::test]
async fn a_renewed_certificate_and_its_token_come_in_one_answer() {
    let (server, node, _dir) = start().await;
    let wish = json!({"audience": "db", "permissions": ["a"]});
    let first = token(&node, &wish, &[]).await;
    let condition = format!("If-None-Match: {}", first.header("etag").unwrap());
    let waiting = {
        let (node, wish) = (Arc::clone(&node), wish.clone());
        tokio::spawn(async move { token(&node, &wish, &[&condition, "Prefer: wait=60"]).await })
    };
    eventually("it waits", || node.core.hub.watchers() > 0).await;
    node.core.hub.rekey(Seconds(0));
    let renewed = within(waiting).await.unwrap();
    assert_eq!(renewed.status, 200, "{}", renewed.body);
    let (old, new) = (first.json(), renewed.json());
    assert_ne!(old["token"], new["token"]);
    assert_ne!(thumbprint(&old), thumbprint(&new));
    let minted = server.state.minted.borrow().clone();
    assert_eq!(thumbprint(&new), bound_to(minted.last().unwrap()));
    stop(node).await;
}

#[tokio::test]
async fn another_policy_set_decides_anew() {
    let (server, node, _dir) = start().await;
    let wish = json!({"audience": "db"});
    let first = token(&node, &wish, &[]).await;
    activate(&server, "sha256:2", CATALOGUE);
    eventually("it is known", || node.core.policies.digest() == "sha256:2").await;
    let catalogue = node.core.policies.get().unwrap().catalogue.clone();
    assert!(catalogue.unwrap().service("db").is_some());
    let second = token(&node, &wish, &[]).await;
    assert_ne!(first.json()["token"], second.json()["token"]);
    // Of one that cannot be read here the name counts, and nothing of the one before.
    activate(&server, "sha256:3", "audience: [");
    let named = || node.core.policies.digest() == "sha256:3";
    eventually("its name is known", named).await;
    assert!(node.core.policies.get().unwrap().catalogue.is_none());
    // The server decides by it all the same, once for one wish.
    let minted = || server.state.minted.borrow().len();
    let before = minted();
    let third = token(&node, &wish, &[]).await;
    assert_eq!(token(&node, &wish, &[]).await.body, third.body);
    assert_eq!(minted(), before + 1);
    stop(node).await;
}

#[tokio::test]
async fn a_refusal_says_what_stood_against_it() {
    let (_server, node, _dir) = start().await;
    let said = token(&node, &json!({"audience": "other"}), &[]).await;
    assert_eq!(
        (said.status, said.problem()),
        (403, "token-denied".to_owned())
    );
    let body = said.json();
    assert_eq!(
        (&body["error"], &body["decision"]),
        (&json!("access_denied"), &json!("dec_1"))
    );
    assert_eq!(
        body["refused"][0]["nearest"][0]["failed"],
        "context.weekday <= 5"
    );
    let unclear = token(&node, &json!({"audience": "db", "more": 1}), &[]).await;
    assert_eq!(
        (unclear.status, unclear.problem()),
        (400, "bad-request".to_owned())
    );
    stop(node).await;
}

#[tokio::test]
async fn over_grpc_a_stream_brings_pair_after_pair() {
    let (server, node, _dir) = start().await;
    let mut client = TokensClient::new(node.channel().await);
    let request = |audience: &str| {
        let mut request = tonic::Request::new(TokenRequest {
            audience: audience.into(),
            ..Default::default()
        });
        let value = "true".parse().unwrap();
        request.metadata_mut().insert(api::WORKLOAD_HEADER, value);
        request
    };
    let pairs = within(client.follow(request("db"))).await.unwrap();
    let mut pairs = pairs.into_inner();
    let first = within(pairs.message()).await.unwrap().unwrap();
    let hash = digest(&SHA256, &first.x509_svid[0]);
    assert_eq!(hash.as_ref(), bound_to(&server.state.minted.borrow()[0]));
    node.core.hub.rekey(Seconds(0));
    let second = within(pairs.message()).await.unwrap().unwrap();
    assert_ne!(first.x509_svid, second.x509_svid);
    assert_ne!(first.minted.unwrap().token, second.minted.unwrap().token);
    let denied = within(client.mint(request("other"))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(denied.message().contains("dec_1"), "{}", denied.message());
    drop((client, pairs));
    stop(node).await;
}
