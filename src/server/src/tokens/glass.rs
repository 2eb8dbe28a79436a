//! Break-glass: one person asks for it with a ticket, another approves it, and for
//! at most fifteen minutes policies see it for that workload. It grants nothing by
//! itself: a policy or guardrail must say what it lifts.

use std::sync::Arc;

use identity::{Seconds, SpiffeId, Timestamp};
use policy::DecisionRecord;
use records::{AuditKind, AuditOutcome, BreakGlassRecord};

use super::Tokens;
use super::explain::DISORDER_MS;
use crate::audit::Audit;
use crate::authz::Certificate;
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::revocation::Hit;

impl Tokens {
    /// Asks for break-glass for a workload.
    ///
    /// # Errors
    /// The ticket is missing or too long, it would last too long, no entry gives the
    /// SPIFFE ID, or the caller's SVID was not given to an attested workload.
    pub(crate) async fn open_glass(
        &self,
        (caller, certificate): (&Caller, Option<Certificate>),
        spiffe_id: &str,
        ticket: &str,
        lasts: u32,
    ) -> Result<BreakGlassRecord, Failure> {
        let parts = &self.0.parts;
        let spiffe_id = SpiffeId::parse(spiffe_id)
            .map_err(|error| Failure::invalid(format!("spiffe_id: {error}")))?;
        let ticket = ticket.trim();
        if !(1..=limits::MAX_TICKET_BYTES).contains(&ticket.len()) {
            let most = limits::MAX_TICKET_BYTES;
            return Err(Failure::invalid(format!(
                "ticket: 1 to {most} bytes are expected"
            )));
        }
        let most = policy::limits::BREAK_GLASS_TTL_MAX;
        if lasts > most {
            return Err(Failure::invalid(format!(
                "seconds: break-glass lasts at most {most}"
            )));
        }
        if self
            .candidates_where(|entry| entry.spiffe_id == spiffe_id)
            .is_empty()
        {
            return Err(Failure::not_found(
                "no registration entry gives that SPIFFE ID",
            ));
        }
        let requester = self.voucher(caller, certificate, &spiffe_id).await?;
        let now = parts.clock.now();
        let random: [u8; 8] = parts.entropy.bytes()?;
        let glass = BreakGlassRecord {
            id: format!(
                "bg_{:012x}{}",
                parts.clock.now_ms().max(0),
                hex::encode(random)
            ),
            spiffe_id,
            ticket: ticket.to_owned(),
            requester: requester.name,
            requester_node: requester.node,
            approver: None,
            approver_node: None,
            lasts: Seconds(if lasts == 0 { most } else { lasts }),
            opened_at: now,
            ends_at: now.plus(limits::GLASS_WAITS),
        };
        parts
            .state
            .put_break_glass(caller, None, &glass, "asked for")
            .await?;
        Ok(glass)
    }

    /// Approves break-glass: from now on it is in force.
    ///
    /// # Errors
    /// There is none, it is approved or over, the caller's SVID was not given to an
    /// attested workload, or the caller is not another person than the one who asked:
    /// another name, not on the admin socket as well, not through the same node.
    pub(crate) async fn approve_glass(
        &self,
        (caller, certificate): (&Caller, Option<Certificate>),
        id: &str,
    ) -> Result<BreakGlassRecord, Failure> {
        let parts = &self.0.parts;
        let before = self.glass_named(id)?;
        let whose = &before.spiffe_id;
        let approver = self.voucher(caller, certificate, whose).await?;
        if let Some(why) = approver.same_as_requester(&before) {
            return Err(self.not_a_person(caller, whose, why).await);
        }
        let now = parts.clock.now();
        if before.approver.is_some() || before.ends_at <= now {
            let why = "it is approved already or its time is over; ask for it anew";
            return Err(Failure::new(Kind::Precondition, why));
        }
        let mut glass = BreakGlassRecord::clone(&before);
        glass.approver = Some(approver.name);
        glass.approver_node = approver.node;
        glass.ends_at = now.plus(glass.lasts);
        let put = parts
            .state
            .put_break_glass(caller, Some(&before), &glass, "approved");
        put.await?;
        tracing::warn!(
            break_glass = glass.id,
            subject = %glass.spiffe_id,
            ticket = glass.ticket,
            "break-glass is in force"
        );
        Ok(glass)
    }

    /// Ends break-glass before its time, and revokes the tokens that would not have been
    /// granted without it. Ending it once more revokes what the first time could not.
    ///
    /// # Errors
    /// There is none, or it is over; or a token could not be revoked, while nothing is
    /// granted any more.
    pub(crate) async fn end_glass(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<BreakGlassRecord, Failure> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let before = self.glass_named(id)?;
        let mut glass = BreakGlassRecord::clone(&before);
        let is_over = before.ends_at <= now;
        if !is_over {
            glass.ends_at = now;
            let put = parts
                .state
                .put_break_glass(caller, Some(&before), &glass, "ended");
            put.await?;
        }
        let revoked = self.revoke_minted_under(caller, &before).await?;
        if is_over && revoked == 0 {
            return Err(Failure::new(Kind::Precondition, "its time is over"));
        }
        Ok(glass)
    }

    /// Revokes the unexpired tokens that were granted because of break-glass.
    async fn revoke_minted_under(
        &self,
        caller: &Caller,
        glass: &BreakGlassRecord,
    ) -> Result<usize, Failure> {
        let slot = self.0.parts.audit.reader()?;
        let audit = self.0.parts.audit.clone();
        let (now, of) = (self.0.parts.clock.now(), glass.clone());
        let found = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            minted_under(&audit, &of, now)
        });
        let tokens = found.await.map_err(Failure::internal)??;
        let reason = format!("break-glass {} was ended", glass.id);
        let revocations = &self.0.parts.revocations;
        let whose = &glass.spiffe_id;
        revocations
            .revoke_tokens(caller, whose, &tokens, &reason)
            .await
    }

    /// Everything that is kept, oldest first.
    #[must_use]
    pub(crate) fn all_glass(&self) -> Vec<Arc<BreakGlassRecord>> {
        self.0.parts.state.break_glass()
    }

    fn glass_named(&self, id: &str) -> Result<Arc<BreakGlassRecord>, Failure> {
        let mut all = self.all_glass().into_iter();
        all.find(|glass| glass.id == id)
            .ok_or_else(|| Failure::not_found("there is no such break-glass; see the list"))
    }
}

/// The unexpired tokens on record that were granted because of break-glass. Blocks.
fn minted_under(
    audit: &Audit,
    glass: &BreakGlassRecord,
    now: Timestamp,
) -> Result<Vec<Hit>, Failure> {
    let since = glass.opened_at.0.saturating_mul(1_000) - DISORDER_MS;
    let first = audit.first_since(since, audit.newest())?;
    let mut found = Vec::new();
    for seen in audit.records_from(first)? {
        let seen = seen?;
        let view = seen.record.view();
        if view.kind != AuditKind::Decision
            || view.outcome != AuditOutcome::Granted
            || view.for_whom != glass.spiffe_id.as_str()
            || view.not_after <= now.0
        {
            continue;
        }
        let decided = DecisionRecord::from_json(view.detail.as_bytes());
        if decided.is_ok_and(|decided| decided.under_break_glass) {
            found.push(Hit::of_token(&view));
        }
    }
    Ok(found)
}
