//! The authority of a server below this one. Like everything else it is authorised,
//! prepared, recorded and only then signed; of the request its key alone counts.

use std::sync::Arc;

use authority::{Refused, SubjectKey};
use identity::Seconds;
use records::AuditKind;

use super::{IssueRefusal, Issuer};
use crate::caller::Caller;
use crate::failure::Failure;

impl Issuer {
    /// Signs a downstream server's authority: its certificate, then those above it.
    /// It lives as long as asked for, at most as long as an authority of this server
    /// would, and never longer than what signs it.
    ///
    /// # Errors
    /// There is no authority, the path is used up, the record could not be made or
    /// signing failed.
    pub(crate) async fn sign_downstream(
        &self,
        caller: &Caller,
        key: &SubjectKey,
        (asked, most): (Option<Seconds>, Seconds),
        levels: u8,
    ) -> Result<Vec<Arc<[u8]>>, IssueRefusal> {
        self.0.state.check_fresh()?;
        // The new authority is itself the first of the levels.
        let below = levels.checked_sub(1).ok_or(Refused::NoRoom)?;
        let authority = self.x509_authority()?;
        let lifetime = super::lifetime(asked, most, most);
        let now = self.0.clock.now();
        let serial = self.serial()?;
        let prepared =
            authority.prepare_downstream(key, lifetime, serial, now, u32::from(below))?;
        let id = self.0.state.trust_domain().id();
        let mut record = self.0.audit.record(AuditKind::DownstreamCa, caller);
        record.for_whom = id.as_str();
        record.serial = serial.as_bytes();
        record.not_after = prepared.not_after().0;
        record.authority_id = authority.id();
        record.detail = "an authority for the caller's own server";
        self.0
            .authorities
            .note_signed(authority.id(), prepared.not_after(), true);
        let draft = self.0.audit.draft_bound(prepared.binding(), &record)?;
        let receipt = self.0.audit.append(vec![draft]).await?.pop();
        let receipt = receipt.ok_or_else(|| Failure::internal("the journal gave no receipt"))?;
        let recorded = prepared.redeem(receipt).map_err(Failure::internal)?;
        let far = &self.0.far;
        far.sign(move || authority.sign_downstream(recorded)).await
    }
}
