//! Entries in batches: each item its own answer, the whole one group and one commit.

use std::sync::Arc;

use records::{AuditKind, AuditOutcome};

use crate::failure::{Failure, Kind};
use crate::rig::{ADMIN, Rig};
use crate::state::{EntryEdit, EntryFailure};

#[tokio::test]
async fn the_same_registration_twice_answers_with_the_first() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let first = rig.create(rig.entry(&agent.id, "web")).await;
    let again = rig.entry_with(&agent.id, "web", |fields| fields.hint = "other".into());
    let twin = rig.entry(&agent.id, "db");
    let twin_again = rig.entry(&agent.id, "db");
    let batch = vec![again, twin.clone(), twin_again];
    let outcomes = rig.server.state.create_entries(&ADMIN, batch).await;
    assert_eq!(outcomes[0], Err(EntryFailure::Same(first)));
    assert!(outcomes[1].is_ok());
    assert_eq!(outcomes[2], Err(EntryFailure::Same(Arc::new(twin))));
}

#[tokio::test]
async fn a_batch_has_at_most_500_items() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let batch: Vec<_> = (0..501)
        .map(|n| rig.entry(&agent.id, &format!("w{n}")))
        .collect();
    let outcomes = rig.server.state.create_entries(&ADMIN, batch).await;
    assert_eq!(outcomes.len(), 501);
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(rig.server.state.registry().counts().entries, 0);
}

#[tokio::test]
async fn a_full_batch_is_one_group_of_records_and_one_commit() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let before = rig.store.head().revision;
    let batch: Vec<_> = (0..500)
        .map(|n| rig.entry(&agent.id, &format!("w{n}")))
        .collect();
    let outcomes = rig.server.state.create_entries(&ADMIN, batch).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(rig.store.head().revision, before + 1);
    assert_eq!(
        rig.count(AuditKind::EntryCreate, AuditOutcome::Granted),
        500
    );
}

#[tokio::test]
async fn a_ring_of_entries_is_refused_even_within_one_batch() {
    let rig = Rig::memory().await;
    let (a, b) = (rig.id("/a"), rig.id("/b"));
    let batch = vec![rig.entry(&b, "a"), rig.entry(&a, "b")];
    let outcomes = rig.server.state.create_entries(&ADMIN, batch).await;
    assert!(outcomes[0].is_ok());
    let refused = Failure::from(outcomes[1].clone().unwrap_err());
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("ancestor"), "{refused}");
}

#[tokio::test]
async fn an_update_sees_what_is_stored_and_counts_the_revision() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let hint = |text: &'static str| -> EntryEdit {
        Box::new(move |mut fields| {
            fields.hint.push_str(text);
            fields.revision = 99;
            Ok(fields)
        })
    };
    let edits = vec![(entry.id.clone(), hint("a")), (entry.id.clone(), hint("b"))];
    let outcomes = rig.server.state.update_entries(&ADMIN, edits).await;
    let updated = outcomes[1].clone().unwrap();
    assert_eq!((updated.hint.as_str(), updated.revision), ("ab", 2));
    assert_eq!(updated.created_at, entry.created_at);
    let registry = rig.server.state.registry();
    assert_eq!(registry.entry(&entry.id), Some(&updated));
}

#[tokio::test]
async fn an_update_may_not_make_a_twin_or_leave_the_rules() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let web = rig.create(rig.entry(&agent.id, "web")).await;
    let db = rig.create(rig.entry(&agent.id, "db")).await;
    let spiffe_id = web.spiffe_id.clone();
    let twin: EntryEdit = Box::new(move |mut fields| {
        fields.spiffe_id = spiffe_id.clone();
        Ok(fields)
    });
    let bare: EntryEdit = Box::new(|mut fields| {
        fields.selectors = identity::Selectors::default();
        Ok(fields)
    });
    let unknown = identity::EntryId::parse("nobody").unwrap();
    let nothing: EntryEdit = Box::new(Ok);
    let edits = vec![
        (db.id.clone(), twin),
        (db.id.clone(), bare),
        (unknown, nothing),
    ];
    let outcomes = rig.server.state.update_entries(&ADMIN, edits).await;
    assert_eq!(outcomes[0], Err(EntryFailure::Same(web)));
    assert_eq!(
        Failure::from(outcomes[1].clone().unwrap_err()).kind(),
        Kind::Invalid
    );
    assert_eq!(
        Failure::from(outcomes[2].clone().unwrap_err()).kind(),
        Kind::NotFound
    );
}

#[tokio::test]
async fn deleting_answers_item_by_item() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let ids = vec![
        entry.id.clone(),
        entry.id.clone(),
        identity::EntryId::parse("nobody").unwrap(),
    ];
    let outcomes = rig.server.state.delete_entries(&ADMIN, ids).await;
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].clone().unwrap_err().kind(), Kind::NotFound);
    assert_eq!(outcomes[2].clone().unwrap_err().kind(), Kind::NotFound);
    assert_eq!(rig.count(AuditKind::EntryDelete, AuditOutcome::Granted), 1);
}
