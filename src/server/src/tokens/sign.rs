//! The end of a mint: the decision is made durable, and then the token is signed.

use std::sync::Arc;

use authority::{AccessAuthority, JwtAuthority, PreparedJwt};
use policy::{DecisionRecord, Limit};
use records::BreakGlassRecord;

use super::Tokens;
use super::ask::{Mint, MintedToken};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::issue::{IssueRefusal, refusal};

/// The authority of the profile that was chosen.
pub(super) enum Signing {
    Jwt(Arc<JwtAuthority>),
    Access(Arc<AccessAuthority>),
}

/// A token that waits for its record.
pub(super) struct Planned {
    pub(super) signing: Signing,
    pub(super) prepared: PreparedJwt,
    pub(super) limited_by: Limit,
}

impl Tokens {
    /// Makes the record durable, and only then signs.
    pub(super) async fn record_and_sign(
        &self,
        caller: &Caller,
        planned: Planned,
        record: DecisionRecord,
        under: Option<&BreakGlassRecord>,
    ) -> Result<Mint, IssueRefusal> {
        let Planned {
            signing, prepared, ..
        } = planned;
        let parts = &self.0.parts;
        let remote = match &signing {
            Signing::Jwt(authority) => authority.is_remote(),
            Signing::Access(authority) => authority.is_remote(),
        };
        let (jti, ends) = (prepared.jti().to_string(), prepared.expires_at());
        let issued_at = prepared.issued_at();
        let record = record.minting(jti, ends, planned.limited_by);
        let signed = Some((prepared.binding(), prepared.authority_id()));
        let draft = self.decision_draft(caller, record.clone(), signed)?;
        parts
            .authorities
            .note_signed(prepared.authority_id(), ends, false);
        let mut receipts = parts.audit.append(vec![draft]).await?;
        let receipt = receipts
            .pop()
            .ok_or_else(|| Failure::internal("the journal gave no receipt"))?;
        // Whoever ends break-glass revokes the tokens on record: a token that is on record
        // later than that is not signed.
        if under.is_some_and(|glass| !self.is_in_force(glass)) {
            let ended = "break-glass has just been ended; ask again";
            return Err(Failure::new(Kind::Precondition, ended).into());
        }
        let recorded = prepared.redeem(receipt).map_err(|error| {
            tracing::error!(%error, "signing failed after the record was made");
            IssueRefusal::Sign("the token could not be signed; try again".into())
        })?;
        let sign = move || match &signing {
            Signing::Jwt(authority) => authority.sign(recorded).map(|made| made.token),
            Signing::Access(authority) => authority.sign(recorded).map(|made| made.token),
        };
        let token = if remote {
            parts.far.sign(sign).await?
        } else {
            sign().map_err(|error| refusal(&error))?
        };
        let token = MintedToken {
            token,
            issued_at,
            expires_at: ends,
        };
        Ok(Mint {
            record,
            token: Some(token),
            retry_after: 0,
        })
    }

    fn is_in_force(&self, glass: &BreakGlassRecord) -> bool {
        let now = self.0.parts.clock.now();
        let state = &self.0.parts.state;
        let all = state.break_glass();
        all.iter()
            .any(|one| one.id == glass.id && now < one.ends_at)
    }
}
