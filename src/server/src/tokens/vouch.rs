//! Who counts as one of the two people of break-glass.
//!
//! An administrator can mint an SVID for any name, so a name alone is no second
//! person. A SPIFFE ID counts by an SVID that the record of issuance knows as given to
//! an attested workload, through the agent of a node; and two SVIDs that came through
//! one node are one person, for whoever holds the node has both. All users of the
//! admin socket are one person, too: whoever is root there is each of them.

use identity::{CertificateSerial, SpiffeId};
use records::{AuditKind, AuditOutcome, BreakGlassRecord};

use super::Tokens;
use super::policies::person;
use crate::audit::{Audit, Refusal, Seen};
use crate::authz::Certificate;
use crate::caller::Caller;
use crate::failure::Failure;

/// By how much the record of a certificate may be older or younger than its beginning,
/// in milliseconds: certificates are dated back, and clocks are set.
const AROUND_MS: i64 = 300_000;

/// Somebody who may ask for or approve break-glass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Voucher {
    /// The authenticated name.
    pub(super) name: String,
    /// The node whose agent gave the SVID; none for a user on the admin socket.
    pub(super) node: Option<String>,
}

impl Voucher {
    /// Why this is not a second person beside the one who asked.
    pub(super) fn same_as_requester(&self, glass: &BreakGlassRecord) -> Option<String> {
        if self.name == glass.requester {
            return Some(format!(
                "{} asked for it; another person must approve it",
                self.name
            ));
        }
        match (&self.node, &glass.requester_node) {
            (None, None) => Some(format!(
                "{} asked for it on the admin socket, too; another person must approve it, by an SVID of an attested workload",
                glass.requester
            )),
            (Some(own), Some(other)) if own == other => Some(format!(
                "the SVIDs of {} and {} were given through the same node {own}; another person must approve it, from another node",
                glass.requester, self.name
            )),
            _ => None,
        }
    }
}

impl Tokens {
    /// Who a caller is as a person of break-glass. A refusal is on record.
    ///
    /// # Errors
    /// The caller's SVID was minted, or is not on record; or the record cannot be read.
    pub(super) async fn voucher(
        &self,
        caller: &Caller,
        certificate: Option<Certificate>,
        for_whom: &SpiffeId,
    ) -> Result<Voucher, Failure> {
        let found = match (caller, certificate) {
            (Caller::Local { .. }, _) => {
                return Ok(Voucher {
                    name: person(caller),
                    node: None,
                });
            }
            (Caller::Spiffe(id), Some(certificate)) => self.node_of(id, certificate).await?,
            _ => Err("the caller shows no certificate".to_owned()),
        };
        match found {
            Ok(node) => Ok(Voucher {
                name: person(caller),
                node: Some(node),
            }),
            Err(why) => Err(self.not_a_person(caller, for_whom, why).await),
        }
    }

    /// Refuses somebody as a person, on record.
    pub(super) async fn not_a_person(
        &self,
        caller: &Caller,
        for_whom: &SpiffeId,
        why: String,
    ) -> Failure {
        let refusal = Refusal {
            kind: AuditKind::BreakGlass,
            caller,
            for_whom: for_whom.as_str(),
            entry_id: "",
            reason: &why,
        };
        self.0.parts.audit.refuse(refusal).await;
        Failure::denied(why)
    }

    /// The node through which a certificate was given to an attested workload, or why
    /// it does not count.
    async fn node_of(
        &self,
        id: &SpiffeId,
        certificate: Certificate,
    ) -> Result<Result<String, String>, Failure> {
        let slot = self.0.parts.audit.reader()?;
        let audit = self.0.parts.audit.clone();
        let look = move || {
            let _slot = slot;
            issuance(&audit, &certificate)
        };
        let found = tokio::task::spawn_blocking(look).await;
        let Some(seen) = found.map_err(Failure::internal)?? else {
            return Ok(Err(format!(
                "the issuance of {id}'s certificate is not on this server's record, so it vouches for nobody"
            )));
        };
        let view = seen.record.view();
        Ok(match (view.kind, view.caller) {
            (AuditKind::IssueX509, records::Caller::Spiffe(agent))
                if view.for_whom == id.as_str() =>
            {
                Ok(agent.to_owned())
            }
            (AuditKind::MintX509, by) => Err(format!(
                "{id}'s SVID was minted by {by} and not given to an attested workload; break-glass takes one that an agent gives out: bulla fetch x509 --write"
            )),
            _ => Err(format!(
                "{id}'s certificate was not given to an attested workload, so it vouches for nobody"
            )),
        })
    }
}

/// The record of a certificate's issuance. Blocks.
fn issuance(audit: &Audit, certificate: &Certificate) -> Result<Option<Seen>, Failure> {
    let began_ms = certificate.not_before.0.saturating_mul(1_000);
    let first = audit.first_since(began_ms.saturating_sub(AROUND_MS), audit.newest())?;
    for seen in audit.records_from(first)? {
        let seen = seen?;
        let view = seen.record.view();
        if view.at_ms > began_ms.saturating_add(AROUND_MS) {
            break;
        }
        let issues = matches!(
            view.kind,
            AuditKind::IssueX509 | AuditKind::MintX509 | AuditKind::Attest | AuditKind::Renew
        );
        if issues
            && view.outcome == AuditOutcome::Granted
            && CertificateSerial::new(view.serial) == certificate.serial
        {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}
