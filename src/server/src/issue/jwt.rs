//! JWT-SVIDs: decided, recorded, signed; each with a `jti` of 128 random bits.

use std::sync::Arc;

use authority::{Jti, JwtAuthority, PreparedJwt};
use identity::{Entry, Timestamp};
use journal::Draft;
use records::{AuditKind, AuditOutcome};

use super::far_away::refusal;
use super::{IssueRefusal, IssuedJwt, Issuer, JwtRequest, JwtRight, lifetime};
use crate::caller::Caller;
use crate::failure::Failure;

struct PlannedJwt {
    prepared: PreparedJwt,
    entry: Option<Arc<Entry>>,
    authority: Arc<JwtAuthority>,
}

impl Issuer {
    /// Issues one JWT-SVID.
    ///
    /// # Errors
    /// Why not; the refusal is recorded too.
    pub(crate) async fn issue_jwt(
        &self,
        caller: &Caller,
        request: JwtRequest,
    ) -> Result<IssuedJwt, IssueRefusal> {
        let issued = self.issue_one_jwt(caller, &request).await;
        match &issued {
            Ok(_) => self.0.meters.jwt_granted.increment(1),
            Err(_) => self.0.meters.jwt_refused.increment(1),
        }
        issued
    }

    async fn issue_one_jwt(
        &self,
        caller: &Caller,
        request: &JwtRequest,
    ) -> Result<IssuedJwt, IssueRefusal> {
        self.0.shares.take(caller, 1, self.0.clock.since_boot())?;
        let plan = self.plan_jwt(request);
        let draft = self.jwt_draft(caller, request, &plan)?;
        let mut receipts = self.0.audit.append(vec![draft]).await?;
        let plan = plan?;
        let receipt = receipts
            .pop()
            .ok_or_else(|| Failure::internal("the journal gave no receipt"))?;
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "signing failed after the record was made");
            IssueRefusal::Sign("the token could not be signed; try again".into())
        };
        let to_be_signed = plan.prepared.redeem(receipt).map_err(|e| failed(&e))?;
        let authority = plan.authority;
        let svid = if authority.is_remote() {
            let signed = self.0.far.sign(move || authority.sign(to_be_signed));
            signed.await?
        } else {
            authority.sign(to_be_signed).map_err(|e| refusal(&e))?
        };
        Ok(IssuedJwt {
            svid,
            entry: plan.entry,
        })
    }

    fn plan_jwt(&self, request: &JwtRequest) -> Result<PlannedJwt, IssueRefusal> {
        self.0.state.check_fresh()?;
        self.0.audit.check_clock()?;
        let now: Timestamp = self.0.clock.now();
        let authority = self
            .0
            .authorities
            .jwt()
            .ok_or(IssueRefusal::NoAuthority("JWT"))?;
        let lifetimes = &self.0.lifetimes;
        let (spiffe_id, entry, asked) = match &request.right {
            JwtRight::Entry { agent, entry } => {
                let entry = self.authorised(agent, entry, now)?;
                (
                    entry.spiffe_id.clone(),
                    Some(Arc::clone(&entry)),
                    entry.jwt_ttl,
                )
            }
            JwtRight::Mint { spiffe_id, ttl } => {
                self.mintable(spiffe_id)?;
                (spiffe_id.clone(), None, *ttl)
            }
        };
        let ttl = lifetime(asked, lifetimes.jwt, lifetimes.max_jwt);
        let after = self.not_revoked(&spiffe_id)?;
        let now = after.map_or(now, |after| now.max(after));
        let jti = Jti::new(self.0.entropy.bytes().map_err(Failure::from)?);
        let prepared = authority.prepare(&spiffe_id, &request.audience, ttl, jti, now)?;
        Ok(PlannedJwt {
            prepared,
            entry,
            authority,
        })
    }

    fn jwt_draft(
        &self,
        caller: &Caller,
        request: &JwtRequest,
        plan: &Result<PlannedJwt, IssueRefusal>,
    ) -> Result<Draft, Failure> {
        let (kind, asked_for, entry_id) = match &request.right {
            JwtRight::Entry { entry, .. } => (AuditKind::IssueJwt, "", entry.as_str()),
            JwtRight::Mint { spiffe_id, .. } => (AuditKind::MintJwt, spiffe_id.as_str(), ""),
        };
        let mut record = self.0.audit.record(kind, caller);
        record.entry_id = entry_id;
        let audience = request.audience.join(" ");
        let mut jti = [0; 32];
        match plan {
            Ok(plan) => {
                record.for_whom = plan.prepared.spiffe_id().as_str();
                record.jti = hex_text(plan.prepared.jti(), &mut jti);
                record.not_after = plan.prepared.expires_at().0;
                record.authority_id = plan.authority.key_id();
                record.detail = &audience;
                let (id, ends) = (plan.authority.key_id(), plan.prepared.expires_at());
                let minted = kind == AuditKind::MintJwt;
                self.0.authorities.note_signed(id, ends, minted);
                self.0.audit.draft_bound(plan.prepared.binding(), &record)
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                tracing::info!(kind = kind.as_str(), %caller, subject = asked_for, entry = entry_id, reason, "refused");
                record.outcome = AuditOutcome::Refused;
                record.for_whom = asked_for;
                record.reason = &reason;
                self.0.audit.draft(&record)
            }
        }
    }
}

/// The `jti` as the token has it, written on the stack.
fn hex_text(jti: Jti, to: &mut [u8; 32]) -> &str {
    // 16 bytes are 32 digits, and digits are UTF-8.
    hex::encode_to_slice(jti.as_bytes(), to)
        .ok()
        .and_then(|()| std::str::from_utf8(to).ok())
        .unwrap_or_default()
}
