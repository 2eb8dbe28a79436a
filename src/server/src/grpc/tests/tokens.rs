//! Scoped tokens over the wire: an agent mints, an admin asks why, followers hear of
//! policy sets.

use api::entries::limits_client::LimitsClient;
use api::entries::{ListTokenLimitsRequest, SetTokenLimitsRequest, TokenLimits};
use api::policy::policy_client::PolicyClient;
use api::policy::{File, HistoryRequest, PolicySetPart, ShowRequest};
use api::sync::Hello;
use api::sync::follow_response::Message;
use api::token::explain_client::ExplainClient;
use api::token::mint_request::Binding;
use api::token::tokens_client::TokensClient;
use api::token::{ExplainTokenRequest, MintRequest};
use tonic::Code;

use super::sync::{Follower, hello};
use super::*;

const CATALOGUE: &str = "
audience: payments
owner: team-payments
description: Charges cards.
profiles: [at+jwt]
max_ttl: 10m
permissions:
  - name: payments:charge
    description: Charge.
    risk: low
";
const POLICY: &str = r#"
@id("pay-1") @owner("team-payments") @rationale("web charges")
permit (principal == Workload::"spiffe://example.org/web", action == Action::"payments:charge", resource == Audience::"payments");
"#;

fn set(comment: &str) -> PolicySetPart {
    let file = |name: &str, text: &str| File {
        name: name.into(),
        text: text.into(),
    };
    PolicySetPart {
        files: vec![
            file("catalogue/payments.yaml", CATALOGUE),
            file(
                "policies/payments.cedar",
                &format!("{POLICY}// {comment}\n"),
            ),
        ],
        comment: comment.into(),
        ..Default::default()
    }
}

async fn activate(rig: &Rig, comment: &str) -> String {
    let mut client = PolicyClient::new(channel(rig, Who::Local).await);
    let answer = client.activate(tokio_stream::iter([set(comment)])).await;
    let answer = answer.unwrap().into_inner();
    answer.activation.expect("nothing is against it").digest
}

fn request(entry: &str) -> MintRequest {
    MintRequest {
        entry_id: entry.into(),
        audience: "payments".into(),
        permissions: vec!["payments:charge".into()],
        binding: Some(Binding::CertificateSha256(vec![7; 32].into())),
        svid_not_after: START.0 + 3_600,
        selectors: vec!["unix:uid:1000".into()],
        attested_at: START.0,
        ..Default::default()
    }
}

#[tokio::test]
async fn an_agent_mints_over_the_wire_and_an_admin_sees_why() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let web = rig.create(rig.entry(&node.id, "web")).await;
    let digest = activate(&rig, "first").await;
    let mut tokens = TokensClient::new(channel(&rig, Who::agent(&node)).await);
    let minted = tokens.mint(request(web.id.as_str())).await.unwrap();
    let minted = minted.into_inner();
    assert_eq!(minted.granted[0].permission, "payments:charge");
    assert_eq!(minted.granted[0].policies[0].rationale, "web charges");
    assert_eq!(
        (minted.profile.as_str(), minted.policy_set.clone()),
        ("at+jwt", digest)
    );
    assert!(minted.issued_at < minted.renew_at && minted.renew_at < minted.expires_at);
    assert!(minted.error.is_none());
    assert!(
        !format!("{minted:?}").contains(&minted.token),
        "a secret in Debug"
    );
    let local = channel(&rig, Who::Local).await;
    let asked = ExplainTokenRequest {
        jti: minted.jti.clone(),
    };
    let why = ExplainClient::new(local.clone())
        .token(asked)
        .await
        .unwrap();
    let why = why.into_inner();
    assert!(why.policy_set_active && why.record.contains(&minted.decision_id));
    // A refusal is an answer, with what a developer needs.
    let mut typo = request(web.id.as_str());
    typo.permissions = vec!["payments:chrage".into()];
    let refused = tokens.mint(typo).await.unwrap().into_inner();
    assert!(refused.token.is_empty());
    let error = refused.error.unwrap();
    assert_eq!(error.code, "invalid_scope");
    assert!(
        error.description.contains("payments:charge"),
        "{}",
        error.description
    );
    // Entries' limits come from admins and hold at once.
    let limits = TokenLimits {
        entry_id: web.id.as_str().into(),
        audiences: vec!["ledger".into()],
        max_ttl_seconds: 0,
    };
    let mut admin = LimitsClient::new(local);
    let set = SetTokenLimitsRequest {
        limits: Some(limits.clone()),
    };
    admin.set(set).await.unwrap();
    let all = admin.list(ListTokenLimitsRequest::default()).await.unwrap();
    assert_eq!(all.into_inner().limits, [limits]);
    let refused = tokens.mint(request(web.id.as_str())).await.unwrap();
    assert_eq!(refused.into_inner().error.unwrap().code, "invalid_target");
}

#[tokio::test]
async fn what_an_agent_sends_wrongly_is_named() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let web = rig.create(rig.entry(&node.id, "web")).await;
    activate(&rig, "first").await;
    let mut tokens = TokensClient::new(channel(&rig, Who::agent(&node)).await);
    let good = || request(web.id.as_str());
    let cases = [
        (
            MintRequest {
                entry_id: "a b".into(),
                ..good()
            },
            "entry_id",
        ),
        (
            MintRequest {
                svid_not_after: 0,
                ..good()
            },
            "svid_not_after",
        ),
        (
            MintRequest {
                binding: Some(Binding::KeyThumbprint(vec![1; 31].into())),
                ..good()
            },
            "key_thumbprint",
        ),
        (
            MintRequest {
                authorization_details: "{}".into(),
                ..good()
            },
            "authorization_details",
        ),
        (
            MintRequest {
                selectors: vec!["unix".into()],
                ..good()
            },
            "selectors",
        ),
    ];
    for (wrong, field) in cases {
        let status = tokens.mint(wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(field), "{}", status.message());
    }
}

#[tokio::test]
async fn followers_that_ask_for_it_hear_of_policy_sets_at_once() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let first = activate(&rig, "first").await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let asks = || Hello {
        features: vec!["policy".into()],
        ..hello()
    };
    let mut follower = Follower::start(&mut clients, asks()).await.unwrap();
    let next = async |follower: &mut Follower| loop {
        if let Some(Message::PolicySet(set)) = follower.next().await.unwrap() {
            return set;
        }
    };
    let heard = next(&mut follower).await;
    assert_eq!(heard.digest, first);
    assert_eq!(heard.issuer, "spiffe://example.org");
    assert_eq!(heard.catalogue[0].text, CATALOGUE);
    assert!(!heard.more);
    let second = activate(&rig, "second").await;
    assert_eq!(next(&mut follower).await.digest, second);
    // Who holds the active set hears nothing; who does not ask is not told.
    for hello in [
        Hello {
            policy_set: second.clone(),
            ..asks()
        },
        hello(),
    ] {
        let mut clients = connect(&rig, Who::agent(&node)).await;
        let mut quiet = Follower::start(&mut clients, hello).await.unwrap();
        quiet.until(|f| f.snapshots == 1).await;
    }
}

#[tokio::test]
async fn history_and_files_come_back_as_they_were_applied() {
    let rig = Rig::memory().await;
    let first = activate(&rig, "first").await;
    activate(&rig, "second").await;
    let mut client = PolicyClient::new(channel(&rig, Who::Local).await);
    let history = client.history(HistoryRequest::default()).await.unwrap();
    let comments: Vec<_> = history
        .into_inner()
        .activations
        .iter()
        .map(|a| (a.comment.clone(), a.active))
        .collect();
    assert_eq!(comments, [("second".into(), true), ("first".into(), false)]);
    let digest = first.trim_start_matches("sha256:")[..8].to_owned();
    let mut parts = client
        .show(ShowRequest { digest })
        .await
        .unwrap()
        .into_inner();
    let part = parts.message().await.unwrap().unwrap();
    assert_eq!(part.digest, first);
    assert_eq!(part.files, set("first").files);
    let none = client
        .show(ShowRequest {
            digest: "ffffffff".into(),
        })
        .await;
    assert_eq!(none.unwrap_err().code(), Code::NotFound);
}
