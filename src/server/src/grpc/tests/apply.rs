//! Many changes of entries: all of them or none.

use api::entries::entries_client::EntriesClient;
use api::entries::{
    ApplyRequest, ApplyResponse, Delete, Operation, TokenLimits, Update, operation,
};
use identity::EntryId;
use records::{AuditKind, AuditOutcome};
use tonic::{Code, Status};

use super::*;

fn entry(id: &str, name: &str, parent: &str) -> types::Entry {
    types::Entry {
        id: id.into(),
        spiffe_id: wire_id(name),
        parent_id: wire_id(parent),
        selectors: vec![types::Selector {
            r#type: "unix".into(),
            value: "uid:1".into(),
        }],
        ..types::Entry::default()
    }
}

fn create(id: &str, name: &str, parent: &str) -> operation::Operation {
    operation::Operation::Create(entry(id, name, parent))
}

fn update(entry: types::Entry, revision: i64) -> operation::Operation {
    let entry = Some(entry);
    operation::Operation::Update(Update { entry, revision })
}

fn delete(id: &str, revision: i64) -> operation::Operation {
    let id = id.into();
    operation::Operation::Delete(Delete { id, revision })
}

async fn apply(rig: &Rig, operations: Vec<operation::Operation>) -> Result<ApplyResponse, Status> {
    let operations = operations.into_iter().map(|operation| Operation {
        operation: Some(operation),
        limits: None,
    });
    apply_limited(rig, operations.collect()).await
}

async fn apply_limited(rig: &Rig, operations: Vec<Operation>) -> Result<ApplyResponse, Status> {
    let messages: Vec<ApplyRequest> = operations
        .chunks(400)
        .map(|operations| ApplyRequest {
            operations: operations.to_vec(),
        })
        .collect();
    let mut client = EntriesClient::new(channel(rig, Who::Local).await);
    let answer = client.apply(tokio_stream::iter(messages)).await?;
    Ok(answer.into_inner())
}

fn ids(rig: &Rig) -> Vec<String> {
    let registry = rig.server.state.registry();
    registry
        .entries()
        .map(|e| e.id.as_str().to_owned())
        .collect()
}

#[tokio::test]
async fn creates_updates_and_deletes_are_one_commit() {
    let rig = Rig::memory().await;
    apply(&rig, vec![create("a", "/a", "/n"), create("b", "/b", "/n")])
        .await
        .unwrap();
    let before = rig.server.state.position();
    let mut changed = entry("a", "/a", "/n");
    changed.hint = "new".into();
    let operations = vec![update(changed, 0), delete("b", 0), create("c", "/c", "/n")];
    let answer = apply(&rig, operations).await.unwrap();
    assert_eq!((answer.created, answer.updated, answer.deleted), (1, 1, 1));
    assert_eq!(ids(&rig), ["a", "c"]);
    let after = rig.server.state.position();
    assert_eq!(after.revision, before.revision + 1);
    for kind in [AuditKind::EntryUpdate, AuditKind::EntryDelete] {
        assert_eq!(rig.count(kind, AuditOutcome::Granted), 1);
    }
    // Contents may change places: what is left behind counts, not the order.
    let swapped = vec![
        update(entry("a", "/c", "/n"), 1),
        update(entry("c", "/a", "/n"), 0),
    ];
    apply(&rig, swapped).await.unwrap();
}

#[tokio::test]
async fn one_bad_operation_leaves_everything_as_it_was() {
    let rig = Rig::memory().await;
    apply(&rig, vec![create("a", "/a", "/n"), create("b", "/b", "/n")])
        .await
        .unwrap();
    let bad = [
        (create("a", "/z", "/n"), Code::AlreadyExists, "taken"),
        (create("z", "/a", "/n"), Code::AlreadyExists, "has the same"),
        (
            create("g", "/good", "/n"),
            Code::InvalidArgument,
            "the same entry",
        ),
        (
            create("z", "/spire/server", "/n"),
            Code::InvalidArgument,
            "/spire/",
        ),
        (
            update(entry("z", "/z", "/n"), 0),
            Code::NotFound,
            "no such entry",
        ),
        (
            update(entry("a", "/a", "/n"), 7),
            Code::FailedPrecondition,
            "revision",
        ),
        (
            update(entry("a", "/good", "/n"), 0),
            Code::AlreadyExists,
            "has the same",
        ),
        (delete("z", 0), Code::NotFound, "no such entry"),
        (delete("a", 3), Code::FailedPrecondition, "revision"),
    ];
    let count = || rig.count(AuditKind::EntryCreate, AuditOutcome::Granted);
    let before = (ids(&rig), rig.server.state.position(), count());
    for (operation, code, what) in bad {
        let shown = format!("{operation:?}");
        let operations = vec![create("g", "/good", "/n"), operation, delete("b", 0)];
        let status = apply(&rig, operations).await.unwrap_err();
        assert_eq!(status.code(), code, "{shown}: {status}");
        assert!(status.message().contains(what), "{shown}: {status}");
        let after = (ids(&rig), rig.server.state.position(), count());
        assert_eq!(after, before, "{shown}");
    }
}

#[tokio::test]
async fn a_ring_is_refused_whoever_closes_it_and_a_broken_one_is_not() {
    let rig = Rig::memory().await;
    let ring = vec![
        create("a", "/a", "/b"),
        create("b", "/b", "/c"),
        create("c", "/c", "/a"),
    ];
    let status = apply(&rig, ring).await.unwrap_err();
    assert!(status.message().contains("its own ancestor"), "{status}");
    let chain = vec![create("a", "/a", "/b"), create("b", "/b", "/n")];
    apply(&rig, chain).await.unwrap();
    let closed = apply(&rig, vec![update(entry("b", "/b", "/a"), 0)]).await;
    assert!(closed.is_err());
    // The same change together with the one that opens the ring is fine.
    let turned = vec![
        update(entry("b", "/b", "/a"), 0),
        update(entry("a", "/a", "/n"), 0),
    ];
    apply(&rig, turned).await.unwrap();
}

#[tokio::test]
async fn ten_thousand_are_one_commit_and_one_more_is_too_many() {
    let rig = Rig::memory().await;
    let many = |count: usize| -> Vec<_> {
        let each = (0..count).map(|n| create(&format!("e{n}"), &format!("/s{n}"), "/n"));
        each.collect()
    };
    let status = apply(&rig, many(10_001)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(ids(&rig).is_empty());
    let before = rig.server.state.position().revision;
    let answer = apply(&rig, many(10_000)).await.unwrap();
    assert_eq!(answer.created, 10_000);
    assert_eq!(rig.server.state.position().revision, before + 1);
    let wrong = (0..10_000).map(|n| delete(&format!("e{n}"), 9)).collect();
    let status = apply(&rig, wrong).await.unwrap_err();
    assert!(
        status.message().contains("10000 changes cannot be made"),
        "{status}"
    );
}

#[tokio::test]
async fn every_refusal_leaves_a_record_also_of_what_cannot_be_read() {
    let rig = Rig::memory().await;
    let refusals = || rig.count(AuditKind::EntryUpdate, AuditOutcome::Refused);
    let bad = [
        vec![create("x", "no-slash", "/n")],
        vec![delete("no such id!", 0)],
        vec![delete("nobody", 0)],
    ];
    for (turn, operations) in bad.into_iter().enumerate() {
        let status = apply(&rig, operations).await.unwrap_err();
        assert_eq!(refusals(), turn + 1, "{status}");
    }
}

#[tokio::test]
async fn limits_come_with_the_entry_in_one_commit() {
    let rig = Rig::memory().await;
    let limits = |audience: &str| {
        Some(TokenLimits {
            audiences: vec![audience.into()],
            max_ttl_seconds: 60,
            ..TokenLimits::default()
        })
    };
    let of = |id: &str| {
        let id = EntryId::parse(id).unwrap();
        rig.server.state.token_limits(&id).unwrap()
    };
    let created = Operation {
        operation: Some(create("a", "/a", "/n")),
        limits: limits("ledger"),
    };
    let before = rig.server.state.position();
    apply_limited(&rig, vec![created]).await.unwrap();
    assert_eq!(rig.server.state.position().revision, before.revision + 1);
    assert_eq!(of("a").unwrap().audiences, ["ledger"]);
    assert_eq!(rig.count(AuditKind::EntryLimits, AuditOutcome::Granted), 1);
    // An update that does not speak of them leaves them.
    apply(&rig, vec![update(entry("a", "/a", "/n"), 0)])
        .await
        .unwrap();
    assert_eq!(of("a").unwrap().max_ttl.unwrap().0, 60);
    // What is wrong with them leaves the entry as it was, too.
    let wrong = Operation {
        operation: Some(update(entry("a", "/b", "/n"), 1)),
        limits: limits("a b"),
    };
    let refused = apply_limited(&rig, vec![wrong]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("limits.audiences"), "{refused}");
    let gone = Operation {
        operation: Some(delete("a", 1)),
        limits: limits("ledger"),
    };
    let refused = apply_limited(&rig, vec![gone]).await.unwrap_err();
    assert!(refused.message().contains("needs none"), "{refused}");
    let taken_away = Operation {
        operation: Some(update(entry("a", "/a", "/n"), 1)),
        limits: Some(TokenLimits::default()),
    };
    apply_limited(&rig, vec![taken_away]).await.unwrap();
    assert!(of("a").is_none());
}
