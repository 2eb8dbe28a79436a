//! Renewal: an agent gets its next SVID while it still holds the current one. The
//! next one's serial is kept beside the current until its first use, so that an
//! answer lost on the way costs nothing.

use authority::{LeafSubject, SubjectKey};
use identity::{SpiffeId, X509Svid};
use records::{AuditKind, key};

use super::{Attestation, decisions};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::state::{Change, Decision, stored};

/// Why an agent that can attest again is not renewed.
pub(crate) const MUST_REATTEST: &str = "agent must attest again instead of renewing";

impl Attestation {
    /// Renews the SVID of an agent whose call was admitted ([`Attestation::admit`]).
    ///
    /// # Errors
    /// The CSR is bad, the node is gone or banned meanwhile, or it cannot be done
    /// now. Recorded.
    pub(crate) async fn renew(&self, agent: &SpiffeId, csr: &[u8]) -> Result<X509Svid, Failure> {
        let caller = Caller::Spiffe(agent.clone());
        let renewed = self.try_renew(&caller, agent, csr).await;
        if let Err(failure) = &renewed {
            self.refuse(&caller, AuditKind::Renew, Some(agent), failure)
                .await;
        }
        renewed
    }

    async fn try_renew(
        &self,
        caller: &Caller,
        agent: &SpiffeId,
        csr: &[u8],
    ) -> Result<X509Svid, Failure> {
        let parts = &self.0;
        parts.state.check_fresh()?;
        let subject_key = SubjectKey::from_csr(csr).map_err(Failure::invalid)?;
        let authority = parts.issuer.x509_authority()?;
        let subject = LeafSubject {
            spiffe_id: agent,
            dns_names: &[],
        };
        let now = parts.clock.now();
        let plan = parts.issuer.prepare(
            &authority,
            &subject,
            &subject_key,
            parts.terms.agent_ttl,
            now,
        )?;
        let serial = plan.prepared.serial().to_certificate_serial();
        let td = parts.state.trust_domain();
        let keys = vec![key::node(td, agent).into()];
        let decided = parts.state.decide(caller, keys, |rows| {
            let next = (serial.clone(), plan.prepared.not_after());
            let node = decisions::renew(rows.node(agent)?, next)?;
            let (_, put) = stored::put_node(td, &node).map_err(Failure::internal)?;
            let change = Change {
                drafts: vec![parts.issuer.grant_draft(AuditKind::Renew, caller, &plan)?],
                writes: vec![put],
                ..Change::default()
            };
            Ok::<_, Failure>(Decision::Change(change, ()))
        });
        let mut receipts = decided.await?.receipts;
        let receipt = receipts
            .pop()
            .ok_or_else(|| Failure::internal("the journal gave no receipt"))?;
        Ok(parts.issuer.sign(plan, receipt).await?)
    }
}
