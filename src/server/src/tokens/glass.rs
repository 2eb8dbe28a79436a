//! Break-glass: one person asks for it with a ticket, another approves it, and for
//! at most fifteen minutes policies see it for that workload. It grants nothing by
//! itself: a policy or guardrail must say what it lifts.

use std::sync::Arc;

use identity::{Seconds, SpiffeId};
use records::BreakGlassRecord;

use super::Tokens;
use super::policies::person;
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

impl Tokens {
    /// Asks for break-glass for a workload.
    ///
    /// # Errors
    /// The ticket is missing or too long, it would last too long, or no entry gives
    /// the SPIFFE ID.
    pub(crate) async fn open_glass(
        &self,
        caller: &Caller,
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
            requester: person(caller),
            approver: None,
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
    /// There is none, it is approved or over, or the same person asked for it.
    pub(crate) async fn approve_glass(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<BreakGlassRecord, Failure> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let before = self.glass_named(id)?;
        let approver = person(caller);
        if approver == before.requester {
            return Err(Failure::denied(format!(
                "{approver} asked for it; another person must approve it"
            )));
        }
        if before.approver.is_some() || before.ends_at <= now {
            let why = "it is approved already or its time is over; ask for it anew";
            return Err(Failure::new(Kind::Precondition, why));
        }
        let mut glass = BreakGlassRecord::clone(&before);
        glass.approver = Some(approver);
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

    /// Ends break-glass before its time.
    ///
    /// # Errors
    /// There is none, or it is over.
    pub(crate) async fn end_glass(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<BreakGlassRecord, Failure> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let before = self.glass_named(id)?;
        if before.ends_at <= now {
            return Err(Failure::new(Kind::Precondition, "its time is over"));
        }
        let mut glass = BreakGlassRecord::clone(&before);
        glass.ends_at = now;
        let put = parts
            .state
            .put_break_glass(caller, Some(&before), &glass, "ended");
        put.await?;
        Ok(glass)
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
