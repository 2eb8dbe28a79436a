//! The index against a plain list, and its bounds.

use identity::{Seconds, SpiffeId};
use proptest::prelude::*;

use super::*;

fn id(n: u32) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org/{n}")).unwrap()
}

fn issued(n: u32, of: u32, expires: i64) -> Issued {
    Issued {
        credential: Credential::Serial(CertificateSerial::new(&n.to_be_bytes())),
        spiffe_id: id(of).as_str().into(),
        entry_id: "entry".into(),
        holder: "agent".into(),
        authority_id: "key".into(),
        issued_at: Timestamp(i64::from(n)),
        expires_at: Timestamp(expires),
    }
}

fn serial(n: u32) -> Revoked {
    Revoked::Serial(CertificateSerial::new(&n.to_be_bytes()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn s8_the_index_finds_what_a_plain_list_finds(
        all in proptest::collection::vec((0_u32..4, 1_i64..2_000), 1..60),
        now in 0_i64..2_500,
    ) {
        let mut index = Outstanding::default();
        index.filled(None);
        for (n, (of, expires)) in (1..).zip(&all) {
            index.note(issued(n, *of, *expires), Timestamp(0));
        }
        let now = Timestamp(now);
        for (n, (_, expires)) in (1..).zip(&all) {
            let found = index.find(&serial(n), now, 10);
            prop_assert_eq!(found.count == 1, Timestamp(*expires) > now);
            prop_assert!(found.is_complete);
        }
        for of in 0..4 {
            let valid = (1_u32..).zip(&all).filter(|(_, (o, e))| *o == of && Timestamp(*e) > now);
            let mut expected: Vec<u32> = valid.map(|(n, _)| n).collect();
            expected.reverse();
            let found = index.find(&Revoked::Id(id(of)), now, 5);
            prop_assert_eq!(found.count, expected.len() as u64);
            let newest = found.newest.iter().map(|one| one.issued_at.0);
            prop_assert!(newest.eq(expected.into_iter().take(5).map(i64::from)));
        }
    }
}

#[test]
fn s8_one_workload_pushes_nobody_else_out_and_what_is_left_out_is_said() {
    let mut index = Outstanding::default();
    index.filled(None);
    index.note(issued(0, 1, 1_000), Timestamp(0));
    let most = u32::try_from(limits::MAX_OUTSTANDING_OF_ID).unwrap();
    for n in 1..=most + 5 {
        index.note(issued(n, 2, 1_000), Timestamp(0));
    }
    assert_eq!(index.find(&serial(0), Timestamp(1), 1).count, 1);
    assert_eq!(index.find(&serial(1), Timestamp(1), 1).count, 0);
    assert_eq!(index.of.len(), limits::MAX_OUTSTANDING_OF_ID + 1);
    assert!(!index.find(&serial(1), Timestamp(1), 1).is_complete);
    // Once it cannot be valid any more the index is complete again, and empty at last.
    assert!(index.find(&serial(1), Timestamp(1_000), 1).is_complete);
    let late = Timestamp(1_000)
        .plus(limits::REVOCATION_SKEW)
        .plus(Seconds(1));
    assert!(!index.find(&serial(0), late, 1).has_expired);
    assert!(index.of.is_empty() && index.by_id.is_empty() && index.texts.is_empty());
}

#[test]
fn s8_a_start_that_has_not_read_the_log_says_so() {
    let mut index = Outstanding::default();
    assert!(!index.find(&serial(1), Timestamp(1), 1).is_complete);
    index.filled(Some(Timestamp(50)));
    assert!(!index.find(&serial(1), Timestamp(49), 1).is_complete);
    assert!(index.find(&serial(1), Timestamp(50), 1).is_complete);
}

#[test]
fn what_was_refused_or_only_noted_is_not_outstanding() {
    let mut record = records::Audit::new(1_000, AuditKind::IssueX509, records::Caller::Server);
    record.serial = &[1, 2];
    record.not_after = 50;
    let read = |record: &records::Audit<'_>| {
        Issued::of(&AuditRecord::decode(&record.encode().unwrap()).unwrap())
    };
    assert_eq!(read(&record).unwrap().expires_at, Timestamp(50));
    record.outcome = AuditOutcome::Refused;
    assert!(read(&record).is_none());
    record.outcome = AuditOutcome::Granted;
    record.not_after = 0;
    assert!(read(&record).is_none());
    record.not_after = 50;
    record.kind = AuditKind::EntryCreate;
    assert!(read(&record).is_none());
}
