//! What the decision log needs done by itself: a look at the disk, one record for each
//! source whose refusals got none of their own, and the index of what is outstanding
//! after a start.

use std::convert::Infallible;
use std::time::Duration;

use identity::{Seconds, SpiffeId, Timestamp};
use records::{AuditKind, AuditOutcome};

use super::budget::{Source, Unrecorded};
use super::{Audit, Issued, JournalHealth};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;

/// Looks after the log until it is beyond repair; returns what is wrong then. The
/// process must end: a supervisor that starts it again is the only help left.
pub(crate) async fn keep(audit: Audit) -> JournalHealth {
    tokio::select! {
        health = watch(&audit) => health,
        never = retain(&audit) => match never {},
    }
}

/// Apart from everything else, for copying segments takes its time.
async fn retain(audit: &Audit) -> Infallible {
    loop {
        audit.retain().await;
        tokio::time::sleep(limits::RETENTION_PERIOD).await;
    }
}

async fn watch(audit: &Audit) -> JournalHealth {
    let mut told = audit.0.clock.since_boot();
    loop {
        tokio::time::sleep(limits::JOURNAL_LOOK).await;
        audit.look().await;
        let health = audit.health();
        if health.is_beyond_repair() {
            tracing::error!(problem = health.problem(), "decision log is beyond repair");
            return health;
        }
        let now = audit.0.clock.since_boot();
        if now.saturating_sub(told) >= limits::UNRECORDED_PERIOD {
            told = now;
            audit.tell_unrecorded().await;
        }
    }
}

impl Audit {
    /// One look at the disk.
    pub(crate) async fn look(&self) {
        let audit = self.clone();
        let looked = tokio::task::spawn_blocking(move || audit.0.disk.look()).await;
        if let Err(error) = looked {
            tracing::error!(%error, "the look at the disk ended badly");
        }
    }

    /// Writes one record for each source whose refusals got none of their own.
    pub(crate) async fn tell_unrecorded(&self) {
        if self.0.disk.admit(journal::Priority::Stranger).is_err() || !self.is_writable() {
            return;
        }
        let unrecorded = self.0.budget.take_unrecorded();
        let drafts = unrecorded.iter().filter_map(|one| {
            let caller = caller_of(&one.source);
            let reason = told(one);
            let mut record = self.record(AuditKind::Refusal, &caller);
            record.outcome = AuditOutcome::Refused;
            record.reason = &reason;
            self.draft(&record).ok()
        });
        if let Err(error) = self.append(drafts.collect()).await {
            tracing::warn!(%error, "refusals that were counted could not be recorded");
        }
    }

    /// Fills the index of what is outstanding from the log: here when that is quick,
    /// otherwise in the background, and until then the index says that it is incomplete.
    pub(crate) async fn fill_outstanding(&self, longest: Seconds) {
        self.0.keeping.set_longest(longest);
        let newest = self.newest();
        let audit = self.clone();
        let filling = tokio::task::spawn_blocking(move || {
            let now = audit.0.clock.now();
            let may_miss = audit.read_outstanding(newest, now, longest).unwrap_or_else(|failure| {
                tracing::error!(%failure, "what was issued before this start could not be read");
                Some(now.plus(longest))
            });
            audit.outstanding().filled(may_miss);
        });
        if newest <= limits::FILLED_AT_START
            && let Err(error) = filling.await
        {
            tracing::error!(%error, "what was issued before this start was not read");
        }
    }

    /// Until when something may be valid that the log no longer has.
    fn read_outstanding(
        &self,
        newest: u64,
        now: Timestamp,
        longest: Seconds,
    ) -> Result<Option<Timestamp>, Failure> {
        // A clock that was set back makes records look younger than they are, not older.
        let since = now.minus(longest).minus(limits::REVOCATION_SKEW);
        let first = self.first_since(since.0.saturating_mul(1_000), newest)?;
        let mut missing = None;
        for seen in self.records_from(first)? {
            let seen = seen?;
            if seen.seq > newest {
                break;
            }
            if missing.is_none() {
                let at = Timestamp(seen.record.view().at_ms.div_euclid(1_000));
                // Whatever was before it was removed, and may have been young enough.
                let is_cut = seen.seq > first || (first > 1 && self.oldest()? == seen.seq);
                missing = Some((is_cut && at > since).then(|| at.plus(longest)));
            }
            if let Some(issued) = Issued::of(&seen.record) {
                self.outstanding().note(issued, now);
            }
        }
        Ok(missing.flatten())
    }

    /// The number of the oldest record that is kept here.
    pub(crate) fn oldest(&self) -> Result<u64, Failure> {
        let oldest = self.records_from(1)?.next().transpose()?;
        Ok(oldest.map_or(1, |seen| seen.seq))
    }
}

fn told(unrecorded: &Unrecorded) -> String {
    let Unrecorded {
        source,
        count,
        since_ms,
    } = unrecorded;
    let since = Duration::from_millis(u64::try_from(*since_ms).unwrap_or_default()).as_secs();
    format!("{count} more refusals of {source} since {since} (Unix seconds) have no record each")
}

/// Whom the record names: filters by SPIFFE ID then find it.
fn caller_of(source: &Source) -> Caller {
    match source {
        Source::Address(prefix) => Caller::Anonymous(prefix.clone()),
        Source::Peer(id) | Source::Entry(id, _) => {
            SpiffeId::parse(id).map_or(Caller::Server, Caller::Spiffe)
        }
        Source::Others => Caller::Server,
    }
}
