//! What a revocation hits, by the record of issuance: nothing is valid that the
//! journal does not name.

use std::collections::VecDeque;

use identity::{CertificateSerial, Revoked, Seconds, Timestamp};
use records::{AuditKind, AuditOutcome};

use super::Revocations;
use crate::audit::{Audit, Seen};
use crate::failure::Failure;
use crate::limits;

/// One unexpired SVID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Serial number in hex, or `jti`.
    pub(crate) credential_id: String,
    pub(crate) spiffe_id: String,
    pub(crate) entry_id: String,
    /// Who was given it.
    pub(crate) holder: String,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) authority_id: String,
}

impl Hit {
    /// A token, as the record of its decision names it.
    pub(crate) fn of_token(view: &records::Audit<'_>) -> Self {
        Self {
            credential_id: view.jti.to_owned(),
            spiffe_id: view.for_whom.to_owned(),
            entry_id: view.entry_id.to_owned(),
            holder: view.caller.to_string(),
            issued_at: Timestamp(view.at_ms.div_euclid(1_000)),
            expires_at: Timestamp(view.not_after),
            authority_id: view.authority_id.to_owned(),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    /// The newest of them first, at most [`limits::MAX_REVOKED_HITS`].
    pub(crate) newest: Vec<Hit>,
    /// How many there are.
    pub(crate) count: u64,
    /// Whether it was issued here, and has expired.
    pub(crate) has_expired: bool,
}

impl Revocations {
    /// Looks through the records of all that can still be valid.
    pub(super) async fn hits(&self, what: &Revoked) -> Result<Hits, Failure> {
        let audit = self.0.audit.clone();
        let now = self.0.clock.now();
        let longest = self.longest();
        let what = what.clone();
        let look = move || find(&audit, &what, now, longest);
        tokio::task::spawn_blocking(look)
            .await
            .map_err(Failure::internal)?
    }

    /// The longest lifetime of anything that can be revoked.
    pub(super) fn longest(&self) -> Seconds {
        self.0.authorities.longest()
    }
}

fn find(audit: &Audit, what: &Revoked, now: Timestamp, longest: Seconds) -> Result<Hits, Failure> {
    // A clock that was set back makes records look younger than they are, not older.
    let since = now.minus(longest).minus(limits::REVOCATION_SKEW);
    let first = audit.first_since(since.0.saturating_mul(1_000), audit.newest())?;
    let mut hits = Hits::default();
    let mut newest: VecDeque<Hit> = VecDeque::new();
    for seen in audit.records_from(first)? {
        let Some(hit) = hit(&seen?, what) else {
            continue;
        };
        if hit.expires_at <= now {
            hits.has_expired = true;
            continue;
        }
        hits.count += 1;
        if newest.len() == limits::MAX_REVOKED_HITS {
            newest.pop_back();
        }
        newest.push_front(hit);
    }
    hits.newest = newest.into();
    Ok(hits)
}

/// What a record says was issued, if `what` revokes it.
fn hit(seen: &Seen, what: &Revoked) -> Option<Hit> {
    let view = seen.record.view();
    let issues = matches!(
        view.kind,
        AuditKind::IssueX509
            | AuditKind::MintX509
            | AuditKind::DownstreamCa
            | AuditKind::ServerX509
            | AuditKind::Attest
            | AuditKind::Renew
            | AuditKind::IssueJwt
            | AuditKind::MintJwt
            | AuditKind::Decision
    );
    // What only says that a renewed SVID is in use has no end.
    if !issues || view.outcome != AuditOutcome::Granted || view.not_after == 0 {
        return None;
    }
    let serial = CertificateSerial::new(view.serial);
    let is_meant = match what {
        Revoked::Serial(wanted) => !view.serial.is_empty() && serial == *wanted,
        Revoked::Jti(wanted) => view.jti == &**wanted,
        Revoked::Id(id) => view.for_whom == id.as_str(),
    };
    is_meant.then(|| Hit {
        credential_id: if view.jti.is_empty() {
            serial.to_string()
        } else {
            view.jti.to_owned()
        },
        spiffe_id: view.for_whom.to_owned(),
        entry_id: view.entry_id.to_owned(),
        holder: view.caller.to_string(),
        issued_at: Timestamp(view.at_ms.div_euclid(1_000)),
        expires_at: Timestamp(view.not_after),
        authority_id: view.authority_id.to_owned(),
    })
}
