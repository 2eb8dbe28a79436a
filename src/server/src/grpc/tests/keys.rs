//! Signing keys by hand: who depends on them, plans, refusals, and agents that
//! poll and so acknowledge nothing.

use api::bundle::GetBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::entry::GetAuthorizedEntriesRequest;
use api::entry::entry_client::EntryClient;
use api::keys::keys_client::KeysClient;
use api::keys::{ActRequest, Key, StatusRequest};
use records::{AuditKind, AuditOutcome};
use tonic::Code;

use super::*;

type Client = KeysClient<Channel>;

fn order(id: &str) -> ActRequest {
    ActRequest {
        profile: "x509".into(),
        id: id.into(),
        ..Default::default()
    }
}

async fn status(client: &mut Client) -> Vec<Key> {
    let status = client.status(StatusRequest {}).await;
    let keys = status.unwrap().into_inner().keys;
    keys.into_iter()
        .filter(|key| key.profile == "x509")
        .collect()
}

#[tokio::test]
async fn a_plan_changes_nothing_and_says_why_it_would_be_refused() {
    let rig = Rig::memory().await;
    let mut client = KeysClient::new(channel(&rig, Who::Local).await);
    let before = status(&mut client).await;
    let active = before[0].id.clone();
    let plan = ActRequest {
        plan: true,
        ..order(&active)
    };
    let taint = client.taint(plan.clone()).await.unwrap().into_inner();
    assert!(!taint.done && taint.refused_because.is_empty());
    assert!(!taint.steps.is_empty());
    let revoke = client.revoke(plan).await.unwrap().into_inner();
    assert!(!revoke.refused_because.is_empty());
    let standing = |keys: &[Key]| -> Vec<(String, String, bool)> {
        let keys = keys.iter();
        keys.map(|key| (key.id.clone(), key.state.clone(), key.tainted))
            .collect()
    };
    assert_eq!(standing(&status(&mut client).await), standing(&before));
    let unknown = client.taint(order("nobody")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let profile = ActRequest {
        profile: "wit".into(),
        ..ActRequest::default()
    };
    let unknown = client.prepare(profile).await.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
}

/// The agent of this test attested and polls; its own SVID is what depends.
#[tokio::test]
async fn an_agent_that_polls_is_known_by_the_bundle_it_fetched() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let mut admin = KeysClient::new(channel(&rig, Who::Local).await);
    let mut entries = EntryClient::new(channel(&rig, Who::agent(&agent)).await);
    let mut bundles = BundleClient::new(channel(&rig, Who::agent(&agent)).await);
    let poll = GetAuthorizedEntriesRequest::default();
    entries.get_authorized_entries(poll).await.unwrap();
    let old = status(&mut admin).await[0].id.clone();
    let next = admin.prepare(order("")).await.unwrap().into_inner().id;
    rig.clock.advance(std::time::Duration::from_secs(60));
    rig.settle().await;
    let refused = admin.activate(order(&next)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("1 agents"), "{refused:?}");
    bundles
        .get_bundle(GetBundleRequest::default())
        .await
        .unwrap();
    rig.server.authorities.tick().await.unwrap();
    admin.activate(order("")).await.unwrap();

    // It cannot say that it replaced what the old key signed.
    admin.taint(order(&old)).await.unwrap();
    let refused = admin.revoke(order(&old)).await.unwrap_err();
    assert!(
        refused.message().contains("1 agents may hold"),
        "{refused:?}"
    );
    let forced = ActRequest {
        force: true,
        ..order(&old)
    };
    admin.revoke(forced).await.unwrap();
    assert_eq!(status(&mut admin).await.len(), 1);
    assert!(rig.count(AuditKind::KeyRotation, AuditOutcome::Granted) > 0);
}

#[tokio::test]
async fn what_was_signed_before_a_restart_still_counts() {
    let rig = Rig::memory().await;
    rig.agent().await;
    let mut client = KeysClient::new(channel(&rig, Who::Local).await);
    let before = status(&mut client).await[0].dependents.unwrap().unexpired;
    let rig = rig.restart_in_memory(10).await.unwrap();
    let mut client = KeysClient::new(channel(&rig, Who::Local).await);
    let counted = async {
        loop {
            let known = status(&mut client).await[0].dependents.unwrap();
            if known.counted {
                return known;
            }
            tokio::task::yield_now().await;
        }
    };
    let known = tokio::time::timeout(std::time::Duration::from_secs(30), counted).await;
    // The server's own SVID of the new start comes on top.
    assert!(known.unwrap().unexpired > before);
}
