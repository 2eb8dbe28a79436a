//! Audit records: round trip, JSON, the line for people.

use proptest::prelude::*;
use serde_json::json;

use crate::{Audit, AuditKind, AuditOutcome, AuditRecord, Caller};

fn issuance() -> Audit<'static> {
    Audit {
        for_whom: "spiffe://example.org/db",
        entry_id: "e1",
        serial: &[0x01, 0xab],
        not_after: 3_600,
        authority_id: "00ff",
        ..Audit::new(
            1_500,
            AuditKind::IssueX509,
            Caller::Spiffe("spiffe://example.org/spire/agent/x/1"),
        )
    }
}

#[test]
fn json_has_what_is_there_and_nothing_else() {
    assert_eq!(
        issuance().to_json(),
        json!({
            "at_ms": 1500,
            "kind": "issue_x509",
            "result": "granted",
            "who": "spiffe://example.org/spire/agent/x/1",
            "for": "spiffe://example.org/db",
            "entry_id": "e1",
            "serial": "01ab",
            "not_after": 3600,
            "authority_id": "00ff",
        })
    );
}

#[test]
fn the_line_for_people_says_who_got_what_and_why_not() {
    assert_eq!(
        issuance().summary(),
        "issue_x509 granted for spiffe://example.org/db to spiffe://example.org/spire/agent/x/1 by entry e1 serial 01ab"
    );
    let refusal = Audit {
        outcome: AuditOutcome::Refused,
        reason: "the token has expired",
        ..Audit::new(0, AuditKind::Attest, Caller::Anonymous("10.0.0.7:4711"))
    };
    assert_eq!(
        refusal.summary(),
        "attest refused to anonymous at 10.0.0.7:4711 because the token has expired"
    );
    let local = Audit::new(0, AuditKind::EntryCreate, Caller::Local { uid: 0, pid: 42 });
    assert_eq!(local.summary(), "entry_create granted to uid:0 pid:42");
}

#[test]
fn kinds_are_told_apart_by_name_and_number() {
    for kind in AuditKind::ALL {
        assert_eq!(AuditKind::parse(kind.as_str()), Some(*kind));
        assert_eq!(AuditKind::from_number(kind.number()), Some(*kind));
    }
    assert_eq!(AuditKind::parse("nothing"), None);
    let numbers: std::collections::BTreeSet<u32> =
        AuditKind::ALL.iter().map(|k| k.number()).collect();
    assert_eq!(numbers.len(), AuditKind::ALL.len());
}

proptest! {
    #[test]
    fn audit_records_round_trip(
        at_ms: i64,
        kind in prop::sample::select(AuditKind::ALL),
        refused: bool,
        caller in 0..4_u8,
        (uid, pid) in any::<(u32, u32)>(),
        texts in prop::collection::vec("\\PC{0,20}", 7),
        serial in prop::collection::vec(any::<u8>(), 0..20),
        not_after: i64,
    ) {
        let audit = Audit {
            at_ms,
            kind,
            outcome: if refused { AuditOutcome::Refused } else { AuditOutcome::Granted },
            caller: match caller {
                0 => Caller::Server,
                1 => Caller::Spiffe(&texts[0]),
                2 => Caller::Local { uid, pid },
                _ => Caller::Anonymous(&texts[0]),
            },
            for_whom: &texts[1],
            entry_id: &texts[2],
            serial: &serial,
            jti: &texts[3],
            not_after,
            authority_id: &texts[4],
            reason: &texts[5],
            detail: &texts[6],
        };
        let bytes = audit.encode()?;
        let record = AuditRecord::decode(&bytes)?;
        prop_assert_eq!(record.view(), audit);
        prop_assert_eq!(record.encode_as_derived()?, bytes, "the derived encoder disagrees");
    }
}

#[test]
fn an_audit_record_too_large_for_the_store_is_refused() {
    let detail = "x".repeat(crate::MAX_RECORD_BYTES);
    let audit = Audit {
        detail: &detail,
        ..issuance()
    };
    assert!(matches!(
        audit.encode(),
        Err(crate::RecordError::TooLarge { .. })
    ));
}
