//! Tokens that lose what they were granted for, revoked together in one commit.

use identity::{Revocation, Revoked, SpiffeId};
use records::AuditKind;

use super::Revocations;
use super::hits::Hit;
use super::order::Order;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;

impl Revocations {
    /// Revokes every one of the tokens, all of `whose`, and returns how many were not
    /// revoked before. If the list cannot take so many more, the SPIFFE ID is revoked up
    /// to now in their place: nothing that was given to it before counts any more.
    ///
    /// # Errors
    /// It could not be committed.
    pub(crate) async fn revoke_tokens(
        &self,
        caller: &Caller,
        whose: &SpiffeId,
        tokens: &[Hit],
        reason: &str,
    ) -> Result<usize, Failure> {
        self.0.audit.check_clock()?;
        let one_at_a_time = self.0.writes.lock().await;
        let now = self.0.clock.now();
        let (mut drafts, mut changes) = (Vec::new(), Vec::new());
        let (mut count, mut bytes) = self.listed();
        for token in tokens {
            let what = Revoked::Jti(token.credential_id.as_str().into());
            if self.0.state.registry().revocation(&what).is_some() {
                continue;
            }
            count += 1;
            bytes += what.value().len();
            let revocation = Revocation {
                what,
                at: now,
                until: Some(token.expires_at.plus(limits::REVOCATION_SKEW)),
                authority: token.authority_id.as_str().into(),
                reason: reason.into(),
            };
            let hit = std::slice::from_ref(token);
            drafts.push(self.record(AuditKind::Revoke, caller, &revocation, hit, "")?);
            changes.push(crate::state::RevocationChange::Put(revocation));
        }
        if changes.is_empty() {
            return Ok(0);
        }
        if count > limits::MAX_REVOCATIONS || bytes > limits::MAX_REVOKED_BYTES {
            drop(one_at_a_time);
            let order = Order {
                what: Revoked::Id(whose.clone()),
                reason: reason.into(),
                until_lifted: false,
                force: true,
            };
            self.revoke(caller, &order).await?;
            return Ok(changes.len());
        }
        let revoked = changes.len();
        let state = &self.0.state;
        state.change_revocations(caller, drafts, changes).await?;
        Ok(revoked)
    }

    /// How many revocations are in force, and the bytes of what they name.
    fn listed(&self) -> (usize, usize) {
        let registry = self.0.state.registry();
        let bytes = registry.revocations().map(|one| one.what.value().len());
        (registry.revocations().len(), bytes.sum())
    }
}
