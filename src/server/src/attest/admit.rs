//! Whether the agent behind a connection is still who it was: asked on each call,
//! answered from memory, in one case with a commit (a renewed SVID's first use).

use identity::{CertificateSerial, SpiffeId, Timestamp};
use records::{AuditKind, key};

use super::Attestation;
use super::decisions::{self, Standing, standing};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::state::{Change, Decision, stored};

/// Why an agent's call is refused. Stock agents act on these: a banned one stops,
/// the others attest again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AgentDenied {
    /// An admin banned it.
    #[error("agent is banned")]
    Banned,
    /// There is no such node: it was evicted, or never attested here.
    #[error("agent is not attested; it must attest again")]
    NotAttested,
    /// Its SVID is not the node's current one: it was renewed and the new one used.
    #[error("agent SVID is not the active one; it must attest again")]
    NotActive,
    /// Its SVID has expired while the connection was open.
    #[error("agent SVID has expired; it must attest again")]
    Expired,
    /// Its SVID, or its ID, is revoked.
    #[error("{0}; the agent must attest again")]
    Revoked(String),
    /// It cannot be decided now.
    #[error(transparent)]
    Undecided(#[from] Failure),
}

impl Attestation {
    /// Admits an agent's call by what its verified certificate says, or says why not.
    /// The first call with a renewed SVID makes that one the current one; from then
    /// on the old one is refused.
    ///
    /// # Errors
    /// See [`AgentDenied`]. Not recorded here: the caller knows what was asked.
    pub(crate) async fn admit(
        &self,
        agent: &SpiffeId,
        serial: &CertificateSerial,
        not_after: Timestamp,
    ) -> Result<(), AgentDenied> {
        let parts = &self.0;
        parts.state.check_fresh()?;
        if not_after <= parts.clock.now() {
            return Err(AgentDenied::Expired);
        }
        let found = standing(
            parts.state.registry().node(agent).map(AsRef::as_ref),
            serial,
        );
        match found {
            Standing::Current => Ok(()),
            Standing::Denied(denied) => Err(denied),
            Standing::Next => self.promote(agent, serial).await,
        }
    }

    /// Makes a renewed SVID the current one. Of several first calls at once one
    /// commits; the others find it done in the store.
    async fn promote(&self, id: &SpiffeId, serial: &CertificateSerial) -> Result<(), AgentDenied> {
        let parts = &self.0;
        let td = parts.state.trust_domain();
        let caller = Caller::Spiffe(id.clone());
        let keys = vec![key::node(td, id).into()];
        let decided = parts.state.decide(&caller, keys, |rows| {
            let Some(node) = decisions::promote(rows.node(id)?, serial)? else {
                return Ok(Decision::Keep(()));
            };
            let (_, put) = stored::put_node(td, &node).map_err(Failure::internal)?;
            let mut record = parts.audit.record(AuditKind::Renew, &caller);
            record.for_whom = node.id.as_str();
            record.serial = node.serial.as_bytes();
            record.detail = "renewed SVID is in use; the one before is refused from now on";
            let change = Change {
                drafts: vec![parts.audit.draft(&record)?],
                writes: vec![put],
                ..Change::default()
            };
            Ok(Decision::Change(change, ()))
        });
        decided.await.map(drop)
    }
}
