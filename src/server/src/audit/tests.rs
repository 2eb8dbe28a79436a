//! Records are read back as asked, while new ones are written.

use std::time::Duration;

use records::AuditKind;

use super::*;
use crate::failure::Kind;
use crate::rig::{ADMIN, Rig};

async fn collect(rig: &Rig, order: AuditOrder) -> Vec<(u64, AuditKind)> {
    let mut from = rig.server.audit.list(order).unwrap();
    let mut seen = Vec::new();
    while let Some(item) = from.recv().await {
        let item = item.unwrap();
        seen.push((item.seq, item.record.view().kind));
    }
    seen
}

#[tokio::test]
async fn records_are_filtered_counted_and_chained() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    rig.server.attestation.ban(&ADMIN, &agent.id).await.unwrap();

    let all = collect(&rig, AuditOrder::default()).await;
    assert_eq!(all.len(), rig.records().len());
    assert!(all.iter().zip(1..).all(|((seq, _), n)| *seq == n));

    let filter = AuditFilter {
        spiffe_id: agent.id.as_str().into(),
        ..AuditFilter::default()
    };
    let order = AuditOrder {
        filter,
        ..AuditOrder::default()
    };
    let of_agent: Vec<_> = collect(&rig, order)
        .await
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    assert_eq!(
        of_agent,
        [
            AuditKind::TokenCreate,
            AuditKind::Attest,
            AuditKind::NodeBan
        ]
    );

    let filter = AuditFilter {
        entry_id: entry.id.as_str().into(),
        ..AuditFilter::default()
    };
    let order = AuditOrder {
        filter,
        ..AuditOrder::default()
    };
    assert_eq!(collect(&rig, order).await.len(), 1);

    let newest = AuditOrder {
        limit: 2,
        newest: true,
        ..AuditOrder::default()
    };
    let newest = collect(&rig, newest).await;
    assert_eq!(newest, all[all.len() - 2..]);
    let first = AuditOrder {
        limit: 3,
        ..AuditOrder::default()
    };
    assert_eq!(collect(&rig, first).await, all[..3]);
}

#[tokio::test]
async fn a_follower_gets_what_comes_and_ends_when_it_leaves() {
    let rig = Rig::memory().await;
    let order = AuditOrder {
        from_seq: rig.server.audit.head().seq + 1,
        follow: true,
        ..AuditOrder::default()
    };
    let mut from = rig.server.audit.list(order).unwrap();
    for _ in 0..3 {
        rig.token().await;
        let seen = from.recv().await.unwrap().unwrap();
        assert_eq!(seen.record.view().kind, AuditKind::TokenCreate);
    }
    drop(from);
    // The place of the one that left is free again.
    let readers = &rig.server.audit.0.readers;
    let all = readers.acquire_many(u32::try_from(limits::MAX_AUDIT_READERS).unwrap());
    let free = tokio::time::timeout(Duration::from_secs(5), all).await;
    assert!(free.is_ok());
}

#[tokio::test]
async fn readers_and_newest_records_are_limited() {
    let rig = Rig::memory().await;
    let follow = || AuditOrder {
        follow: true,
        ..AuditOrder::default()
    };
    let open: Vec<_> = (0..limits::MAX_AUDIT_READERS)
        .map(|_| rig.server.audit.list(follow()).unwrap())
        .collect();
    let refused = rig.server.audit.list(follow()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Exhausted);
    drop(open);
    for limit in [0, limits::MAX_AUDIT_NEWEST + 1] {
        let order = AuditOrder {
            newest: true,
            limit,
            ..AuditOrder::default()
        };
        assert_eq!(
            rig.server.audit.list(order).unwrap_err().kind(),
            Kind::Invalid
        );
    }
}

#[tokio::test]
async fn the_chain_verifies_and_a_cut_tail_is_noticed() {
    let rig = Rig::memory().await;
    rig.token().await;
    let head = rig.server.audit.head();
    let checked = rig.server.audit.verify(Some(head)).await.unwrap();
    assert_eq!(
        (checked.head.map(|h| h.seq), checked.fault),
        (Some(head.seq), None)
    );
    let beyond = journal::Head {
        seq: head.seq + 5,
        hash: [1; 32],
    };
    let checked = rig.server.audit.verify(Some(beyond)).await.unwrap();
    assert!(checked.head.is_none() && checked.fault.is_some());
}

#[tokio::test]
async fn a_long_reason_is_cut_at_a_character() {
    let rig = Rig::memory().await;
    let reason = "ä".repeat(limits::MAX_REASON_BYTES);
    rig.server
        .audit
        .refuse(Refusal {
            kind: AuditKind::Refusal,
            caller: &ADMIN,
            for_whom: "",
            entry_id: "",
            reason: &reason,
        })
        .await;
    let records = rig.records();
    let kept = records.last().unwrap().view().reason.to_owned();
    assert_eq!(kept.len(), limits::MAX_REASON_BYTES);
}
