//! What is acknowledged is durable, recorded before, and seen by everybody it touches.

mod entries;
mod interleaving;

use std::sync::Arc;
use std::time::Duration;

use identity::{Bundle, TrustDomain};
use records::{AuditKind, key};
use store::memory::Memory;
use store::{Commit, CommitId, Condition, Store, Write};

use super::*;
use crate::failure::Kind;
use crate::rig::{ADMIN, Rig, selectors};

fn foreign(name: &str) -> Bundle {
    Bundle::empty(TrustDomain::parse(name).unwrap())
}

#[tokio::test]
async fn a_created_entry_is_stored_recorded_and_visible() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let stored = rig
        .store
        .get(&key::entry(rig.server.state.trust_domain(), &entry.id))
        .await;
    assert!(stored.unwrap().is_some());
    let records = rig.records();
    let last = records.last().unwrap().view();
    assert_eq!(
        (last.kind, last.entry_id),
        (AuditKind::EntryCreate, entry.id.as_str())
    );
    let view = rig
        .server
        .state
        .agent_view(&agent.id, rig.clock.now())
        .unwrap();
    assert_eq!(view.entries, [entry]);
    assert_eq!(view.position, rig.store.head());
}

/// When the acknowledgement is there, so is the durable record and the stored row:
/// a journal that takes nothing more means that nothing is stored.
#[tokio::test]
async fn without_a_record_nothing_changes() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let before = rig.store.head();
    rig.journal.close();
    let outcome = rig
        .server
        .state
        .create_entries(&ADMIN, vec![rig.entry(&agent.id, "web")])
        .await;
    let failure = Failure::from(outcome[0].clone().unwrap_err());
    assert_eq!(failure.kind(), Kind::Unavailable);
    assert_eq!(rig.store.head(), before);
    let ban = rig
        .server
        .attestation
        .ban(&ADMIN, &agent.id)
        .await
        .unwrap_err();
    assert_eq!(ban.kind(), Kind::Unavailable);
    assert_eq!(rig.store.head(), before);
}

#[tokio::test]
async fn only_the_agents_a_change_touches_are_told() {
    let rig = Rig::memory().await;
    let (one, other) = (rig.agent().await, rig.agent().await);
    let mut told = rig.server.state.subscribe_agent(&one.id).unwrap();
    let mut not_told = rig.server.state.subscribe_agent(&other.id).unwrap();
    for name in ["a", "b", "c"] {
        rig.create(rig.entry(&one.id, name)).await;
    }
    assert!(told.changed().await.view);
    let silence = tokio::time::timeout(Duration::from_millis(20), not_told.changed()).await;
    assert!(silence.is_err(), "the other agent's view did not change");
    rig.server.attestation.ban(&ADMIN, &other.id).await.unwrap();
    assert!(
        not_told.changed().await.view,
        "a ban is told to the agent it concerns"
    );
    rig.server
        .state
        .put_bundle(&ADMIN, foreign("partner.test"), BundlePut::Create)
        .await
        .unwrap();
    assert!(told.changed().await.bundles);
}

async fn put_raw(store: &Memory, n: u8, key: Vec<u8>, value: &[u8]) {
    let commit = Commit {
        id: CommitId([n; 16]),
        conditions: Vec::new(),
        writes: vec![Write::Put(key.into(), value.into())],
    };
    store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn a_poison_record_is_left_out_and_stops_nobody() {
    let first = Rig::memory().await;
    let td = first.server.state.trust_domain().clone();
    let good = first.entry_with(&first.id("/spire/server"), "group", |fields| {
        fields.selectors = selectors(&["join_token:x"]);
    });
    let poisoned = EntryId::parse("poisoned").unwrap();
    let store = Memory::new(9);
    put_raw(
        &store,
        1,
        key::entry(&td, &good.id),
        &records::encode_entry(&good).unwrap(),
    )
    .await;
    put_raw(&store, 2, key::entry(&td, &poisoned), b"\xff\xfe garbage").await;
    put_raw(
        &store,
        3,
        key::entry(&td, &EntryId::parse("swapped").unwrap()),
        &records::encode_entry(&good).unwrap(),
    )
    .await;
    put_raw(&store, 4, b"example.org/token/nothex".to_vec(), b"").await;
    let rig = Rig::on_store(Arc::new(store)).await.unwrap();
    let registry = rig.server.state.registry();
    assert!(registry.entry(&good.id).is_some());
    assert_eq!(registry.counts().entries, 1);
    drop(registry);
    let poison = rig.server.state.poison();
    assert_eq!(poison.len(), 3, "{poison:?}");
    assert!(
        poison
            .iter()
            .any(|(key, _)| key == "example.org/entry/poisoned")
    );
    // Nothing is written over what cannot be read.
    let over = rig.entry_with(&rig.id("/other"), "x", |fields| fields.id = poisoned);
    let outcome = rig.server.state.create_entries(&ADMIN, vec![over]).await;
    assert!(outcome[0].is_err());
}

/// A policy record that cannot be read stops every decision; another's whose name
/// only looks like one stops none.
#[tokio::test]
async fn only_a_lost_policy_record_stops_decisions() {
    let rig = Rig::memory().await;
    let td = rig.server.state.trust_domain().clone();
    let put = |key: Vec<u8>| {
        let garbage = Write::Put(key.into(), b"garbage".as_slice().into());
        rig.server.state.commit(Vec::new(), vec![garbage])
    };
    let node = rig.id("/spire/agent/policy/n1");
    put(key::node(&td, &node)).await.unwrap();
    assert_eq!(rig.server.state.poison().len(), 1);
    assert!(rig.server.state.active_policy().is_ok());
    put(key::activation(&td, 1)).await.unwrap();
    let refused = rig.server.state.active_policy().unwrap_err();
    assert!(refused.message().contains("history-"), "{refused}");
}

/// An entry whose row cannot be read is not overwritten, and nothing is announced.
#[tokio::test]
async fn a_row_that_only_the_store_knows_is_decided_on() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.entry(&agent.id, "web");
    let row: store::Key = key::entry(rig.server.state.trust_domain(), &entry.id).into();
    let put = vec![Write::Put(row, Arc::new(*b"\xff"))];
    rig.server.state.commit(Vec::new(), put).await.unwrap();
    let before = rig.records().len();
    let outcome = rig.server.state.create_entries(&ADMIN, vec![entry]).await;
    let failure = Failure::from(outcome[0].clone().unwrap_err());
    assert_eq!(failure.kind(), Kind::Exists);
    assert_eq!(rig.records().len(), before);
}

#[tokio::test]
async fn a_view_that_nobody_refreshes_authorises_nothing() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    rig.create(rig.entry(&agent.id, "web")).await;
    rig.store.close().await;
    rig.clock.advance(limits::MAX_VIEW_AGE);
    assert!(
        rig.server
            .state
            .agent_view(&agent.id, rig.clock.now())
            .is_ok()
    );
    rig.clock.advance(Duration::from_millis(1));
    let stale = rig
        .server
        .state
        .agent_view(&agent.id, rig.clock.now())
        .unwrap_err();
    assert_eq!(stale.kind(), Kind::Unavailable);
    let refused = rig
        .server
        .attestation
        .admit(&agent.id, &agent.serial, agent.svid.not_after)
        .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_commit_whose_condition_fails_says_which() {
    let rig = Rig::memory().await;
    let key: store::Key = b"example.org/token/none".to_vec().into();
    let conditions = vec![Condition::Present(Arc::clone(&key))];
    let outcome = rig.server.state.commit(conditions, Vec::new()).await;
    assert_eq!(outcome, Err(CommitFailure::Conflict(key)));
}

#[tokio::test]
async fn a_commit_that_fails_takes_its_records_back() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.entry(&agent.id, "web");
    let state = &rig.server.state;
    let draft = state.entry_record(AuditKind::EntryCreate, &ADMIN, &entry);
    // What it is conditional on does not hold.
    let row: store::Key = key::entry(state.trust_domain(), &entry.id).into();
    let conditions = vec![Condition::Present(row)];
    let outcome = state.record_and_commit(&ADMIN, vec![draft.unwrap()], conditions, Vec::new());
    assert!(outcome.await.is_err());
    let records = rig.records();
    let [announced, taken_back] = &records[records.len() - 2..] else {
        panic!("two records");
    };
    assert_eq!(announced.view().kind, AuditKind::EntryCreate);
    assert_eq!(taken_back.view().kind, AuditKind::Refusal);
    let seq = records.len() - 1;
    let reason = taken_back.view().reason;
    assert!(
        reason.starts_with(&format!("records {seq} to {seq}: ")),
        "{reason}"
    );
}

#[tokio::test]
async fn bundles_are_put_as_asked_and_deleted_with_care() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let state = &rig.server.state;
    let partner = TrustDomain::parse("partner.test").unwrap();
    let update = state
        .put_bundle(&ADMIN, foreign("partner.test"), BundlePut::Update)
        .await;
    assert_eq!(update.unwrap_err().kind(), Kind::NotFound);
    state
        .put_bundle(&ADMIN, foreign("partner.test"), BundlePut::Create)
        .await
        .unwrap();
    let again = state
        .put_bundle(&ADMIN, foreign("partner.test"), BundlePut::Create)
        .await;
    assert_eq!(again.unwrap_err().kind(), Kind::Exists);
    let own = state
        .put_bundle(&ADMIN, foreign("example.org"), BundlePut::Set)
        .await;
    assert_eq!(own.unwrap_err().kind(), Kind::Invalid);
    let entry = rig
        .create(rig.entry_with(&agent.id, "web", |fields| {
            fields.federates_with = vec![partner.clone()]
        }))
        .await;
    let kept = state
        .delete_bundle(&ADMIN, &partner, BundleDeletion::Restrict)
        .await;
    assert_eq!(kept.unwrap_err().kind(), Kind::Precondition);
    state
        .delete_bundle(&ADMIN, &partner, BundleDeletion::Dissociate)
        .await
        .unwrap();
    let registry = state.registry();
    assert!(registry.bundle(&partner).is_none());
    let left = registry.entry(&entry.id).unwrap();
    assert!(left.federates_with.is_empty() && left.revision == 1);
}

#[tokio::test]
async fn everything_is_there_after_a_restart_on_disk() {
    let rig = Rig::on_disk().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let unused = rig.token().await;
    rig.server
        .state
        .put_bundle(&ADMIN, foreign("partner.test"), BundlePut::Create)
        .await
        .unwrap();
    let banned = rig.agent().await;
    rig.server
        .attestation
        .ban(&ADMIN, &banned.id)
        .await
        .unwrap();
    let authority = rig.server.authorities.x509().unwrap().id().to_owned();
    let records = rig.records().len();
    let position = rig.store.head();

    let rig = rig.restart_from_disk().await;
    assert!(rig.store.head() >= position);
    let view = rig
        .server
        .state
        .agent_view(&agent.id, rig.clock.now())
        .unwrap();
    assert_eq!(view.entries, [entry]);
    rig.server
        .attestation
        .admit(&agent.id, &agent.serial, agent.svid.not_after)
        .await
        .unwrap();
    let refused = rig
        .server
        .attestation
        .admit(&banned.id, &banned.serial, banned.svid.not_after)
        .await;
    assert_eq!(refused, Err(crate::attest::AgentDenied::Banned));
    assert_eq!(rig.server.authorities.x509().unwrap().id(), authority);
    assert!(rig.verifies(&agent.svid));
    rig.attest(&unused).await.unwrap();
    let partner = TrustDomain::parse("partner.test").unwrap();
    assert!(rig.server.state.registry().bundle(&partner).is_some());
    assert!(rig.records().len() > records);
    let checked = rig.server.audit.verify(None).await.unwrap();
    assert_eq!(checked.fault, None);
}

/// Before, 1,000 that had been opened and ended kept anybody from opening one more.
#[tokio::test]
async fn s11_break_glass_that_has_ended_is_in_nobodys_way() {
    let store = Memory::with_limits(9, crate::open::store_limits());
    let td = TrustDomain::parse("example.org").unwrap();
    let glass = |n: usize, ends_at: i64| BreakGlassRecord {
        id: format!("bg_{n:012x}"),
        spiffe_id: SpiffeId::parse("spiffe://example.org/payments").unwrap(),
        ticket: "OPS-1".into(),
        requester: "uid:1".into(),
        requester_node: None,
        approver: None,
        approver_node: None,
        lasts: identity::Seconds(60),
        opened_at: crate::rig::START,
        ends_at: Timestamp(ends_at),
    };
    let now = crate::rig::START.0;
    let rows = (0..1_000).map(|n| stored::put_glass(&td, &glass(n, now - 1)).unwrap().1);
    let commit = Commit {
        id: CommitId([1; 16]),
        conditions: Vec::new(),
        writes: rows.collect(),
    };
    store.commit(commit).await.unwrap();
    let rig = Rig::on_store(Arc::new(store)).await.unwrap();
    let state = &rig.server.state;
    let new = glass(1_000, now + 3_600);
    let opened = state.put_break_glass(&ADMIN, None, &new, "asked for").await;
    opened.unwrap();
    assert_eq!(state.break_glass().len(), 1_000, "the oldest made room");
    let mut changed = new.clone();
    changed.approver = Some("uid:2".into());
    let approved = state.put_break_glass(&ADMIN, Some(&new), &changed, "approved");
    approved.await.unwrap();
    let stale = state
        .put_break_glass(&ADMIN, Some(&new), &changed, "approved")
        .await;
    assert_eq!(stale.unwrap_err().kind(), Kind::Unavailable);
}
