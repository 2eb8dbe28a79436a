//! What is kept, what is removed, and what is in the way.

use std::time::Duration;

use super::*;
use crate::rig::{ADMIN, Rig};

const HOUR: Duration = Duration::from_secs(3_600);

/// Appends until so many segments are sealed.
async fn seal(rig: &Rig, count: usize) {
    let audit = &rig.server.audit;
    let detail = "x".repeat(30_000);
    while rig.journal.sealed().unwrap().len() < count {
        let mut record = audit.record(AuditKind::EntryUpdate, &ADMIN);
        record.detail = &detail;
        let drafts = (0..8).map(|_| audit.draft(&record).unwrap()).collect();
        audit.append(drafts).await.unwrap();
    }
}

fn sealed(rig: &Rig) -> Vec<Sealed> {
    rig.journal.sealed().unwrap()
}

async fn rig(change: impl FnOnce(&mut crate::config::AuditSection)) -> Rig {
    Rig::with(|config| {
        config.audit.segment_mib = 1;
        config.audit.retain = "2h".into();
        change(&mut config.audit);
    })
    .await
}

#[tokio::test]
async fn s8_segments_are_removed_by_age_once_nothing_in_them_can_be_valid() {
    let rig = rig(|_| {}).await;
    seal(&rig, 2).await;
    rig.server.audit.retain().await;
    assert_eq!(sealed(&rig).len(), 2);
    // Older than records are kept, younger than the longest credential.
    rig.clock.advance(3 * HOUR);
    rig.server.audit.retain().await;
    assert_eq!(sealed(&rig).len(), 2);
    assert!(
        rig.server
            .audit
            .retention_problem()
            .contains("still be valid")
    );
    rig.clock.advance(48 * HOUR);
    rig.server.audit.retain().await;
    // The time of a segment is that of the record behind it, which is old as well.
    assert!(sealed(&rig).is_empty());
    assert_eq!(rig.server.audit.retention_problem(), "");
    let checked = rig.server.audit.verify(None).await.unwrap();
    assert_eq!(checked.fault, None);
    let records = rig.records();
    let newest = records.last().unwrap().view();
    assert_eq!(newest.kind, AuditKind::Retention);
    assert!(newest.detail.contains("not archived"), "{}", newest.detail);
}

#[tokio::test]
async fn s8_with_an_archive_only_what_is_there_is_removed() {
    let to = tempfile::tempdir().unwrap();
    let archive = to.path().join("archive");
    let folder = archive.clone();
    let rig = rig(move |audit| audit.archive_dir = Some(folder)).await;
    seal(&rig, 2).await;
    // A file where the folder should be.
    std::fs::write(&archive, "in the way").unwrap();
    rig.clock.advance(3 * HOUR);
    rig.server.audit.retain().await;
    assert_eq!(sealed(&rig).len(), 2);
    assert!(rig.server.audit.retention_problem().contains("archive"));
    std::fs::remove_file(&archive).unwrap();
    rig.server.audit.retain().await;
    assert!(sealed(&rig).is_empty());
    let head = rig.journal.head();
    let dir = rig.journal.dir();
    let verified = journal::verify_archive(&archive, Some(dir), Some(&head)).unwrap();
    assert_eq!((verified.before.seq, verified.head), (0, head));
}

#[tokio::test]
async fn s8_what_an_administrator_removed_on_the_machine_is_recorded_once() {
    let rig = rig(|audit| audit.retain = "365d".into()).await;
    seal(&rig, 3).await;
    let (dir, audit) = (rig.journal.dir(), &rig.server.audit);
    let last = sealed(&rig)[1].last;
    journal::note_archived(dir, &last).unwrap();
    journal::remove_through(dir, last.seq).unwrap();
    for _ in 0..2 {
        audit.retain().await;
    }
    assert!(audit.verify(None).await.unwrap().fault.is_none());
    assert_eq!(audit.oldest().unwrap(), last.seq + 1);
    let told = rig.count(AuditKind::Retention, records::AuditOutcome::Granted);
    assert_eq!(told, 1);
}

#[tokio::test]
async fn s8_beyond_its_size_the_oldest_segments_go() {
    let rig = rig(|audit| {
        audit.retain = "365d".into();
        audit.retain_mib = 2;
    })
    .await;
    seal(&rig, 4).await;
    rig.clock.advance(48 * HOUR);
    rig.server.audit.retain().await;
    let left: u64 = sealed(&rig).iter().map(|segment| segment.bytes).sum();
    assert!((1..=2 << 20).contains(&left), "{left}");
}
