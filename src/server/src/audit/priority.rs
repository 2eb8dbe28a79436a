//! How important a record is: which are refused first when the queue or the disk fills
//! up, and which have a reserve that nobody else can take.

use journal::Priority;
use records::{AuditKind, AuditOutcome, Caller};

/// The priority of a record.
pub(super) fn of(record: &records::Audit<'_>) -> Priority {
    match (record.outcome, record.caller) {
        (AuditOutcome::Refused, Caller::Anonymous(_)) => Priority::Stranger,
        (AuditOutcome::Refused, Caller::Spiffe(_)) => Priority::Issuance,
        (AuditOutcome::Refused, Caller::Local { .. } | Caller::Server) => Priority::Admin,
        (AuditOutcome::Granted, _) => of_act(record.kind),
    }
}

/// What takes access away, and what keeps this server able to sign, comes last of all
/// to a stop; what gives access to more, before it.
const fn of_act(kind: AuditKind) -> Priority {
    match kind {
        AuditKind::Attest
        | AuditKind::Renew
        | AuditKind::IssueX509
        | AuditKind::IssueJwt
        | AuditKind::MintX509
        | AuditKind::MintJwt
        | AuditKind::DownstreamCa
        | AuditKind::Decision => Priority::Issuance,
        AuditKind::Startup
        | AuditKind::Shutdown
        | AuditKind::ServerX509
        | AuditKind::CaX509
        | AuditKind::CaJwt
        | AuditKind::CaAccess
        | AuditKind::KeyRotation
        | AuditKind::NodeBan
        | AuditKind::NodeEvict
        | AuditKind::EntryDelete
        | AuditKind::Retention
        | AuditKind::Revoke => Priority::Vital,
        _ => Priority::Admin,
    }
}

/// Whether a record of this kind is paid for by whoever asks for credentials.
pub(super) const fn is_charged(kind: AuditKind) -> bool {
    matches!(of_act(kind), Priority::Issuance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_access_away_is_above_what_gives_it() {
        let of = |kind, caller| of(&records::Audit::new(0, kind, caller));
        let agent = Caller::Spiffe("spiffe://example.org/spire/agent/x");
        let admin = Caller::Local { uid: 0, pid: 1 };
        for kind in [
            AuditKind::NodeBan,
            AuditKind::Revoke,
            AuditKind::KeyRotation,
            AuditKind::EntryDelete,
        ] {
            assert!(
                of(kind, admin) > of(AuditKind::EntryCreate, admin),
                "{kind}"
            );
        }
        assert!(of(AuditKind::EntryCreate, admin) > of(AuditKind::IssueX509, agent));
        let mut refused = records::Audit::new(0, AuditKind::Attest, Caller::Anonymous("192.0.2.1"));
        refused.outcome = AuditOutcome::Refused;
        assert_eq!(super::of(&refused), Priority::Stranger);
    }
}
