//! JWT-SVIDs: what is asked for is what is given, from the cache while young.

use std::sync::atomic::Ordering;

use api::workload::{JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest};
use prost_types::value::Kind;
use tonic::{Code, Status};

use super::node::{Client, entry, eventually};
use super::workload_api::ready;

pub(super) async fn fetch(
    client: &mut Client,
    audience: &[&str],
    id: &str,
) -> Result<JwtsvidResponse, Status> {
    let request = JwtsvidRequest {
        audience: audience.iter().map(|a| (*a).to_owned()).collect(),
        spiffe_id: id.to_owned(),
    };
    client
        .fetch_jwtsvid(request)
        .await
        .map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_token_is_cached_for_exactly_the_audiences_asked() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the entry is there", || node.core.hub.counts().entries == 1).await;
    let mut client = node.client().await;
    let issued = || server.state.jwt_issued.load(Ordering::SeqCst);
    let first = fetch(&mut client, &["x", "y"], "").await.unwrap();
    assert_eq!(first.svids[0].spiffe_id, "spiffe://example.org/a");
    assert_eq!(fetch(&mut client, &["x", "y"], "").await.unwrap(), first);
    assert_eq!(issued(), 1);
    for other in [&["y", "x"][..], &["x"], &["x", "y", "z"]] {
        let token = fetch(&mut client, other, "").await.unwrap();
        assert_ne!(token.svids[0].svid, first.svids[0].svid);
    }
    assert_eq!(issued(), 4);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn many_callers_that_ask_at_once_cost_one_issuance() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the entry is there", || node.core.hub.counts().entries == 1).await;
    let client = node.client().await;
    let calls = (0..32).map(|_| {
        let mut client = client.clone();
        async move { fetch(&mut client, &["x"], "").await.unwrap() }
    });
    let tokens = futures_util::future::join_all(calls).await;
    assert!(tokens.iter().all(|t| *t == tokens[0]));
    assert_eq!(server.state.jwt_issued.load(Ordering::SeqCst), 1);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn requests_that_make_no_sense_are_told_apart_from_identities_not_held() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    server.put(&entry("e2", "/b"));
    eventually("the entries are there", || {
        node.core.hub.counts().entries == 2
    })
    .await;
    let mut client = node.client().await;
    let many: Vec<&str> = std::iter::repeat_n("x", 33).collect();
    let bad: [(&[&str], &str); 5] = [
        (&[], ""),
        (&[""], ""),
        (&["x", ""], ""),
        (&many, ""),
        (&["x"], "spiffe://example.org/a/"),
    ];
    for (audience, id) in bad {
        let refused = fetch(&mut client, audience, id).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{audience:?} {id}");
    }
    let refused = fetch(&mut client, &["x"], "spiffe://example.org/c")
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::PermissionDenied, "no identity issued")
    );
    assert_eq!(fetch(&mut client, &["x"], "").await.unwrap().svids.len(), 2);
    let second = fetch(&mut client, &["x"], "spiffe://example.org/b")
        .await
        .unwrap();
    assert_eq!(second.svids.len(), 1);
    assert_eq!(second.svids[0].spiffe_id, "spiffe://example.org/b");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_is_valid_for_its_audience_and_no_other() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("the entry is there", || node.core.hub.counts().entries == 1).await;
    let mut client = node.client().await;
    let token = fetch(&mut client, &["x"], "").await.unwrap().svids[0]
        .svid
        .clone();
    let mut validate = async |audience: &str, svid: &str| {
        let (audience, svid) = (audience.to_owned(), svid.to_owned());
        client
            .validate_jwtsvid(ValidateJwtsvidRequest { audience, svid })
            .await
    };
    let valid = validate("x", &token).await.unwrap().into_inner();
    assert_eq!(valid.spiffe_id, "spiffe://example.org/a");
    let claims = valid.claims.unwrap().fields;
    assert!(matches!(&claims["aud"].kind, Some(Kind::ListValue(list)) if list.values.len() == 1));
    assert!(matches!(claims["exp"].kind, Some(Kind::NumberValue(_))));
    let mut forged = token.clone();
    forged.replace_range(token.len() - 8..token.len() - 4, "AAAA");
    for (audience, svid) in [
        ("y", token.as_str()),
        ("", &token),
        ("x", ""),
        ("x", "a.b.c"),
        ("x", &forged),
    ] {
        let refused = validate(audience, svid).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{audience}");
        assert!(
            !refused.message().contains(&token[..20]),
            "the token was quoted"
        );
    }
    node.stop().await.unwrap();
}
