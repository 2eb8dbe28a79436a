//! What a revocation hits, by the index of what was issued: a revocation never waits for
//! the decision log to be read.

use identity::{Revoked, Seconds, Timestamp};

use super::Revocations;
use crate::audit::Issued;

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
    /// The newest of them first, at most [`crate::limits::MAX_REVOKED_HITS`].
    pub(crate) newest: Vec<Hit>,
    /// How many are known.
    pub(crate) count: u64,
    /// Whether it was issued here, and has expired.
    pub(crate) has_expired: bool,
    /// Whether there are certainly no others. After a start, and when more was issued
    /// than the index holds, there may be.
    pub(crate) is_complete: bool,
}

impl Revocations {
    /// What an order hits.
    pub(super) fn hits(&self, what: &Revoked) -> Hits {
        let found = self.0.audit.find_outstanding(what, self.0.clock.now());
        Hits {
            newest: found.newest.iter().map(|issued| hit(issued)).collect(),
            count: found.count,
            has_expired: found.has_expired,
            is_complete: found.is_complete,
        }
    }

    /// The longest lifetime of anything that can be revoked.
    pub(super) fn longest(&self) -> Seconds {
        self.0.authorities.longest()
    }
}

fn hit(issued: &Issued) -> Hit {
    Hit {
        credential_id: issued.credential_id(),
        spiffe_id: issued.spiffe_id.to_string(),
        entry_id: issued.entry_id.to_string(),
        holder: issued.holder.to_string(),
        issued_at: issued.issued_at,
        expires_at: issued.expires_at,
        authority_id: issued.authority_id.to_string(),
    }
}
