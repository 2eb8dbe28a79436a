//! What an administrator orders: revoke, lift; planned, checked, recorded, committed.

use std::sync::Arc;

use identity::{Revocation, Revoked, Timestamp};
use journal::{Binding, Draft};
use records::AuditKind;

use super::Revocations;
use super::hits::{Hit, Hits};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::state::RevocationChange;

/// One order.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) what: Revoked,
    pub(crate) reason: String,
    /// An ID alone: refuse it everything until it is lifted.
    pub(crate) until_lifted: bool,
    /// Also what there is no record of.
    pub(crate) force: bool,
}

/// What an order comes to.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What is in force, or would be.
    pub(crate) revocation: Arc<Revocation>,
    /// It was in force before.
    pub(crate) already: bool,
    pub(crate) hits: Vec<Hit>,
    pub(crate) hit_count: u64,
    /// Why it would be refused.
    pub(crate) refused: Option<Failure>,
}

/// What is left of a revocation that was lifted, and the sequence of the list.
pub(crate) type Lifted = (Option<Arc<Revocation>>, u64);

impl Revocations {
    /// What an order would do now; nothing is done.
    ///
    /// # Errors
    /// It makes no sense.
    pub(crate) fn plan(&self, order: &Order) -> Result<Outcome, Failure> {
        check_reason(&order.reason)?;
        if order.until_lifted && !matches!(order.what, Revoked::Id(_)) {
            return Err(Failure::invalid(
                "until_lifted: it is for SPIFFE IDs alone; a serial or jti is revoked for good",
            ));
        }
        let hits = self.hits(&order.what);
        let now = self.0.clock.now();
        let held = self.held(&order.what);
        if let Some(held) = held.filter(|held| covers(held, order, now)) {
            return Ok(Outcome {
                revocation: held,
                already: true,
                hits: hits.newest,
                hit_count: hits.count,
                refused: None,
            });
        }
        let refused = self.refused(order, &hits);
        Ok(Outcome {
            revocation: Arc::new(self.made(order, &hits, now)),
            already: false,
            hits: hits.newest,
            hit_count: hits.count,
            refused,
        })
    }

    /// Revokes, and says in which list. What is revoked already stays as it is.
    ///
    /// # Errors
    /// It is refused, or could not be committed.
    pub(crate) async fn revoke(
        &self,
        caller: &Caller,
        order: &Order,
    ) -> Result<(Outcome, u64), Failure> {
        // By a wrong clock the wrong things would be void.
        self.0.audit.check_clock()?;
        let _one_at_a_time = self.0.writes.lock().await;
        let outcome = self.plan(order)?;
        if let Some(refused) = outcome.refused {
            return Err(refused);
        }
        if outcome.already {
            let sequence = self.0.state.registry().revocation_sequence();
            return Ok((outcome, sequence));
        }
        let revocation = Revocation::clone(&outcome.revocation);
        let how = match (&revocation.what, revocation.until) {
            (Revoked::Id(_), None) => format!(
                "until lifted; {} unexpired SVIDs are void",
                outcome.hit_count
            ),
            (Revoked::Id(_), Some(_)) => format!(
                "issued up to {}; {} unexpired SVIDs are void",
                revocation.at.0, outcome.hit_count
            ),
            _ => String::new(),
        };
        let draft = self.record(AuditKind::Revoke, caller, &revocation, &outcome.hits, &how)?;
        let change = RevocationChange::Put(revocation);
        let state = &self.0.state;
        let sequence = state
            .change_revocations(caller, vec![draft], vec![change])
            .await?;
        let what = &outcome.revocation.what;
        tracing::warn!(%what, by = %caller, reason = order.reason, sequence, "revoked");
        Ok((outcome, sequence))
    }

    /// Takes a revocation back. Of an ID that was revoked until lifted, what was
    /// issued up to then stays void: those who held it were not meant to have it.
    ///
    /// # Errors
    /// It is not revoked, or could not be committed.
    pub(crate) async fn lift(
        &self,
        caller: &Caller,
        what: &Revoked,
        reason: &str,
    ) -> Result<Lifted, Failure> {
        check_reason(reason)?;
        self.0.audit.check_clock()?;
        let _one_at_a_time = self.0.writes.lock().await;
        let held = self
            .held(what)
            .ok_or_else(|| Failure::not_found(format!("{what} is not revoked")))?;
        let mut lifted = Revocation::clone(&held);
        lifted.reason = reason.into();
        let remaining = held.is_until_lifted().then(|| {
            let now = self.0.clock.now();
            Revocation {
                at: now,
                until: Some(self.ends(now)),
                ..Revocation::clone(&held)
            }
        });
        let (change, how) = match &remaining {
            Some(remaining) => (
                RevocationChange::Put(remaining.clone()),
                "new SVIDs are issued again; what was issued before stays void",
            ),
            None => (RevocationChange::Delete(what.clone()), ""),
        };
        let draft = self.record(AuditKind::RevokeLift, caller, &lifted, &[], how)?;
        let state = &self.0.state;
        let sequence = state
            .change_revocations(caller, vec![draft], vec![change])
            .await?;
        tracing::warn!(%what, by = %caller, reason, sequence, "revocation lifted");
        Ok((remaining.map(Arc::new), sequence))
    }

    /// Removes what revokes nothing that can still be valid.
    ///
    /// # Errors
    /// It could not be committed; the next sweep tries again.
    pub(crate) async fn sweep(&self) -> Result<usize, Failure> {
        let now = self.0.clock.now();
        let spent = |state: &crate::state::State| -> Vec<RevocationChange> {
            let registry = state.registry();
            let spent = registry.revocations().filter(|one| one.is_spent(now));
            let changes = spent.map(|one| RevocationChange::Delete(one.what.clone()));
            changes.take(limits::MAX_SWEEP).collect()
        };
        if spent(&self.0.state).is_empty() {
            return Ok(0);
        }
        self.0.audit.check_clock()?;
        let _one_at_a_time = self.0.writes.lock().await;
        let changes = spent(&self.0.state);
        let count = changes.len();
        let state = &self.0.state;
        state
            .change_revocations(&Caller::Server, Vec::new(), changes)
            .await?;
        Ok(count)
    }

    fn held(&self, what: &Revoked) -> Option<Arc<Revocation>> {
        self.0.state.registry().revocation(what).cloned()
    }

    /// Why an order is refused that makes sense.
    fn refused(&self, order: &Order, hits: &Hits) -> Option<Failure> {
        if let Revoked::Id(id) = &order.what {
            let is_server = self.0.authorities.server_id().as_ref() == Some(id);
            if is_server && order.until_lifted {
                let why = "no agent could reach this server any more; revoke what was issued to it so far, or stop it";
                return Some(Failure::new(Kind::Precondition, why));
            }
        } else if hits.count == 0 && hits.is_complete && !order.force {
            // Where the index left something out, what it does not know is revoked all the
            // same: a revocation too many harms nobody.
            return Some(unknown(&order.what, hits.has_expired));
        }
        let registry = self.0.state.registry();
        let bytes: usize = registry
            .revocations()
            .map(|one| one.what.value().len())
            .sum();
        let is_new = registry.revocation(&order.what).is_none();
        let is_full = registry.revocations().len() >= limits::MAX_REVOCATIONS
            || bytes + order.what.value().len() > limits::MAX_REVOKED_BYTES;
        (is_new && is_full).then(|| {
            let why = "the list of revocations is as long as it may be; revoke the SPIFFE ID instead of each SVID, or taint the key";
            Failure::new(Kind::Exhausted, why)
        })
    }

    fn made(&self, order: &Order, hits: &Hits, now: Timestamp) -> Revocation {
        let newest = hits.newest.first();
        let (authority, ends) = match (&order.what, newest) {
            (Revoked::Id(_), _) | (_, None) => (String::new(), self.ends(now)),
            (_, Some(hit)) => (
                hit.authority_id.clone(),
                hit.expires_at.plus(limits::REVOCATION_SKEW),
            ),
        };
        Revocation {
            what: order.what.clone(),
            at: now,
            until: (!order.until_lifted).then_some(ends),
            authority: authority.into(),
            reason: order.reason.as_str().into(),
        }
    }

    /// When all that could have been issued up to a moment has expired.
    fn ends(&self, at: Timestamp) -> Timestamp {
        at.plus(self.longest()).plus(limits::REVOCATION_SKEW)
    }

    /// The record names what was revoked, and vouches for no issuance.
    pub(super) fn record(
        &self,
        kind: AuditKind,
        caller: &Caller,
        revocation: &Revocation,
        hits: &[Hit],
        detail: &str,
    ) -> Result<Draft, Failure> {
        let mut record = self.0.audit.record(kind, caller);
        let hit = hits.first();
        match &revocation.what {
            Revoked::Id(id) => record.for_whom = id.as_str(),
            Revoked::Serial(serial) => record.serial = serial.as_bytes(),
            Revoked::Jti(jti) => record.jti = jti,
        }
        if let (Some(hit), false) = (hit, matches!(revocation.what, Revoked::Id(_))) {
            record.for_whom = &hit.spiffe_id;
            record.entry_id = &hit.entry_id;
        }
        record.not_after = revocation.until.map_or(0, |until| until.0);
        record.authority_id = &revocation.authority;
        record.reason = &revocation.reason;
        record.detail = detail;
        self.0.audit.draft_bound(Binding::NONE, &record)
    }
}

/// Whether what is in force already does what is ordered.
fn covers(held: &Revocation, order: &Order, now: Timestamp) -> bool {
    match held.what {
        Revoked::Id(_) if held.is_until_lifted() => true,
        Revoked::Id(_) => !order.until_lifted && held.at >= now,
        Revoked::Serial(_) | Revoked::Jti(_) => true,
    }
}

fn unknown(what: &Revoked, has_expired: bool) -> Failure {
    if has_expired {
        let why = format!("{what} has expired: nobody accepts it any more");
        return Failure::new(Kind::Precondition, why);
    }
    Failure::not_found(format!(
        "there is no record that {what} was issued here and is still valid; compare it, or force the revocation"
    ))
}

fn check_reason(reason: &str) -> Result<(), Failure> {
    let fits = (1..=limits::MAX_REASON_BYTES).contains(&reason.trim().len());
    if fits && !reason.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "reason: say why, in one line of 1 to {} bytes; it is recorded",
        limits::MAX_REASON_BYTES
    )))
}
