//! Whether the agent behind a connection is still who it was: asked on each call,
//! answered from memory, in one case with a commit (a renewed SVID's first use).

use identity::{CertificateSerial, Node, SpiffeId, Timestamp};
use records::AuditKind;
use store::Condition;

use super::Attestation;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::state::{CommitFailure, stored};

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

/// How often a renewed SVID's first use tries against other changes of the node.
const PROMOTE_TRIES: usize = 5;

/// How a node's row looks at a serial.
enum Standing {
    Current,
    Next,
    Denied(AgentDenied),
}

fn standing(node: Option<&Node>, serial: &CertificateSerial) -> Standing {
    let Some(node) = node else {
        return Standing::Denied(AgentDenied::NotAttested);
    };
    if node.banned {
        return Standing::Denied(AgentDenied::Banned);
    }
    if node.serial == *serial {
        return Standing::Current;
    }
    match &node.next {
        Some((next, _)) if next == serial => Standing::Next,
        _ => Standing::Denied(AgentDenied::NotActive),
    }
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
    /// commits; the others find it done in the store, which is ahead of memory.
    async fn promote(&self, id: &SpiffeId, serial: &CertificateSerial) -> Result<(), AgentDenied> {
        for _ in 0..PROMOTE_TRIES {
            let stored = self.stored_node(id).await?;
            let node = stored.as_ref().map(|(node, _)| node);
            match standing(node, serial) {
                Standing::Current => return Ok(()),
                Standing::Denied(denied) => return Err(denied),
                Standing::Next => {}
            }
            if let Some((node, unchanged)) = stored
                && self.try_promote(node, unchanged).await?
            {
                return Ok(());
            }
        }
        Err(AgentDenied::Undecided(Failure::unavailable(
            "the node was changed at the same time; try again",
        )))
    }

    /// Whether the commit was ours; `false` when somebody else changed the row.
    async fn try_promote(&self, mut node: Node, unchanged: Condition) -> Result<bool, AgentDenied> {
        let Some((serial, expires_at)) = node.next.take() else {
            return Ok(false);
        };
        node.serial = serial;
        node.expires_at = expires_at;
        let state = &self.0.state;
        let (_, put) = stored::put_node(state.trust_domain(), &node).map_err(Failure::internal)?;
        let caller = Caller::Spiffe(node.id.clone());
        let mut record = self.0.audit.record(AuditKind::Renew, &caller);
        record.for_whom = node.id.as_str();
        record.serial = node.serial.as_bytes();
        record.detail = "renewed SVID is in use; the one before is refused from now on";
        let draft = self.0.audit.draft(&record)?;
        self.0.audit.append(vec![draft]).await?;
        match state.commit(vec![unchanged], vec![put]).await {
            Ok(_) => Ok(true),
            Err(CommitFailure::Conflict(_)) => Ok(false),
            Err(failure) => Err(AgentDenied::Undecided(failure.into())),
        }
    }
}
