//! The server's own SVID, by the same path as everybody's.

use std::sync::Arc;

use authority::{LeafSubject, SubjectKey};
use channel::LiveIdentity;
use identity::{CertificateSerial, PrivateKeyDer, Timestamp};
use keys::{KeyType, generate_pkcs8};
use records::AuditKind;

use super::Issuer;
use crate::caller::Caller;
use crate::failure::Failure;

/// When the server's SVID is to be renewed, and what it was signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerSvid {
    pub(crate) renew_at: Timestamp,
    pub(crate) authority_id: String,
    pub(crate) serial: CertificateSerial,
    pub(crate) not_before: Timestamp,
}

impl Issuer {
    /// Makes a new key and SVID for the server and shows it from the next handshake on.
    ///
    /// # Errors
    /// There is no authority, the record could not be made, or signing failed.
    pub(crate) async fn renew_server_svid(
        &self,
        identity: &Arc<LiveIdentity>,
    ) -> Result<ServerSvid, Failure> {
        let authority = self.x509_authority()?;
        let (pkcs8, public) = generate_pkcs8(KeyType::EcP256, self.0.entropy.source())
            .map_err(Failure::unavailable)?;
        let key = SubjectKey::from_spki(public.spki_der()).map_err(Failure::internal)?;
        let id = self
            .0
            .authorities
            .server_id()
            .ok_or_else(|| Failure::internal("the server's own ID is too long"))?;
        let subject = LeafSubject {
            spiffe_id: &id,
            dns_names: &[],
        };
        let now = self.0.clock.now();
        let plan = self.prepare(&authority, &subject, &key, self.0.lifetimes.x509, now)?;
        let serial = plan.prepared.serial().to_certificate_serial();
        let draft = self.grant_draft(AuditKind::ServerX509, &Caller::Server, &plan)?;
        let mut receipts = self.0.audit.append(vec![draft]).await?;
        let receipt = receipts
            .pop()
            .ok_or_else(|| Failure::internal("the journal gave no receipt"))?;
        let svid = self.sign(plan, receipt).await?;
        let half = svid.not_after.since(now).0 / 2;
        identity
            .set(&svid.chain, &PrivateKeyDer::new(&pkcs8))
            .map_err(Failure::internal)?;
        Ok(ServerSvid {
            renew_at: Timestamp(now.0.saturating_add(i64::from(half))),
            authority_id: authority.id().to_owned(),
            serial,
            not_before: svid.not_before,
        })
    }
}
