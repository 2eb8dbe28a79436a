//! Decision records: written before the deed, read back for `bulla audit`.
//!
//! A record that cannot be made durable means that the deed does not happen. What
//! reaches a record is what an auditor needs; secrets and selectors never do.

mod read;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use duty::Duty;
use journal::{Binding, Draft, Journal, JournalError, Receipt};
use records::{AuditKind, AuditOutcome};
use tokio::sync::{Semaphore, watch};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::clock_guard::ClockGuard;
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::metrics::{self, Meters};

pub(crate) use read::{AuditFilter, AuditOrder, Seen};

/// The decision log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audit(Arc<Parts>);

struct Parts {
    journal: Journal,
    dir: PathBuf,
    clock: Clock,
    meters: Meters,
    /// Appending, as health knows it.
    duty: Duty,
    /// Number of the newest record appended here; wakes those who follow.
    appended: watch::Sender<u64>,
    readers: Arc<Semaphore>,
    /// Those who follow are let go when the server stops.
    stopping: watch::Receiver<bool>,
    guard: ClockGuard,
    /// Whether the last append failed.
    failing: AtomicBool,
}

impl Audit {
    /// Takes an open journal. `newest_ms` is the time of its newest record.
    pub(crate) fn new(
        journal: Journal,
        dir: &Path,
        newest_ms: i64,
        (clock, meters, duty): (Clock, Meters, Duty),
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self(Arc::new(Parts {
            appended: watch::Sender::new(journal.head().seq),
            journal,
            dir: dir.to_path_buf(),
            guard: ClockGuard::new(clock.clone(), newest_ms),
            clock,
            meters,
            duty,
            readers: Arc::new(Semaphore::new(limits::MAX_AUDIT_READERS)),
            failing: AtomicBool::new(false),
            stopping,
        }))
    }

    /// Refuses to sign when the wall clock cannot be believed.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], with what is wrong.
    pub(crate) fn check_clock(&self) -> Result<(), Failure> {
        self.0.guard.check()
    }

    /// Whether records can be made, as far as the last try tells.
    pub(crate) fn is_writable(&self) -> bool {
        !self.0.failing.load(Ordering::Relaxed)
    }

    /// By how many seconds the wall clock stands behind the newest record.
    #[must_use]
    pub(crate) fn clock_behind(&self) -> i64 {
        self.0.guard.behind_seconds()
    }

    /// The number of the newest record.
    pub(crate) fn newest(&self) -> u64 {
        self.0.journal.head().seq
    }

    /// A granted record of now, to be filled in.
    pub(crate) fn record<'a>(&self, kind: AuditKind, caller: &'a Caller) -> records::Audit<'a> {
        records::Audit::new(self.0.guard.record_ms(), kind, caller.for_record())
    }

    /// Makes a record ready to be appended, bound to its serial or `jti`.
    ///
    /// # Errors
    /// It does not fit into one record.
    pub(crate) fn draft(&self, record: &records::Audit<'_>) -> Result<Draft, Failure> {
        let binding = if !record.serial.is_empty() {
            Binding::of(record.serial)
        } else if !record.jti.is_empty() {
            Binding::of(record.jti.as_bytes())
        } else {
            Binding::NONE
        };
        self.draft_bound(binding, record)
    }

    /// As [`Audit::draft`], with the binding given.
    pub(crate) fn draft_bound(
        &self,
        binding: Binding,
        record: &records::Audit<'_>,
    ) -> Result<Draft, Failure> {
        let payload = record.encode().map_err(Failure::invalid)?;
        Ok(Draft { binding, payload })
    }

    /// Appends a group of records; returns when all of them are durable.
    ///
    /// # Errors
    /// They are not (or nobody knows): what they announce must not happen.
    pub(crate) async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, Failure> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let started = self.0.clock.since_boot();
        let count = metrics::number(drafts.len());
        self.0.meters.audit_lag.increment(count);
        let receipts = self.0.journal.append(drafts).await;
        self.0.meters.audit_lag.decrement(count);
        let took = self.0.clock.since_boot().saturating_sub(started);
        self.0.meters.append_seconds.record(took.as_secs_f64());
        self.0
            .failing
            .store(is_broken(&receipts), Ordering::Relaxed);
        self.report(receipts.as_ref().err());
        let receipts = receipts.map_err(|error| no_record(&error))?;
        if let Some(newest) = receipts.last() {
            let seq = newest.seq();
            self.0
                .appended
                .send_if_modified(|at| std::mem::replace(at, seq.max(*at)) < seq);
            self.0.guard.recorded();
        }
        Ok(receipts)
    }

    /// Asks the journal for nothing, which its writer answers as it answers a record: so
    /// that a dead one is noticed on a server that is idle.
    pub(crate) async fn probe(&self) {
        let outcome = self.0.journal.append(Vec::new()).await;
        self.report(outcome.as_ref().err());
    }

    fn report(&self, error: Option<&JournalError>) {
        let now = self.0.clock.since_boot();
        match error {
            None => self.0.duty.done(now),
            // The record was at fault, and nothing is known of the journal.
            Some(JournalError::TooLarge { .. }) => {}
            Some(error @ (JournalError::Failed(_) | JournalError::Closed)) => {
                self.0.duty.lost(error.to_string());
            }
            Some(error) => self.0.duty.failed(now, error.to_string()),
        }
    }

    /// Records a refusal and writes its one log line. Returns once durable, or once
    /// it is clear that it cannot be: a refusal stands either way.
    pub(crate) async fn refuse(&self, refusal: Refusal<'_>) {
        self.refuse_all(std::slice::from_ref(&refusal)).await;
    }

    /// Records several refusals in one group.
    pub(crate) async fn refuse_all(&self, refusals: &[Refusal<'_>]) {
        let drafts = refusals
            .iter()
            .filter_map(|refusal| self.refusal_draft(refusal));
        if let Err(error) = self.append(drafts.collect()).await {
            tracing::error!(%error, count = refusals.len(), "refusals could not be recorded");
        }
    }

    fn refusal_draft(&self, refusal: &Refusal<'_>) -> Option<Draft> {
        let reason = clip(refusal.reason, limits::MAX_REASON_BYTES);
        tracing::info!(
            kind = refusal.kind.as_str(),
            caller = %refusal.caller,
            subject = refusal.for_whom,
            entry = refusal.entry_id,
            reason,
            "refused"
        );
        let mut record = self.record(refusal.kind, refusal.caller);
        record.outcome = AuditOutcome::Refused;
        record.for_whom = refusal.for_whom;
        record.entry_id = refusal.entry_id;
        record.reason = reason;
        self.draft_bound(Binding::NONE, &record).ok()
    }

    /// The newest durable record.
    #[must_use]
    pub(crate) fn head(&self) -> journal::Head {
        self.0.journal.head()
    }
}

/// A refusal worth a record and a log line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal<'a> {
    /// What was asked for; [`AuditKind::Refusal`] when it never came that far.
    pub kind: AuditKind,
    /// Who asked.
    pub caller: &'a Caller,
    /// For which SPIFFE ID, or empty.
    pub for_whom: &'a str,
    /// By which entry, or empty.
    pub entry_id: &'a str,
    /// Why not. Never a secret.
    pub reason: &'a str,
}

/// Whether the journal, rather than what it was given, is at fault.
fn is_broken(appended: &Result<Vec<Receipt>, JournalError>) -> bool {
    !matches!(appended, Ok(_) | Err(JournalError::TooLarge { .. }))
}

fn no_record(error: &JournalError) -> Failure {
    tracing::error!(%error, "decision could not be recorded");
    let kind = match error {
        JournalError::TooLarge { .. } => Kind::Invalid,
        _ => Kind::Unavailable,
    };
    Failure::new(
        kind,
        "the decision could not be recorded, so nothing was done; try again",
    )
}

/// The longest start of `text` with at most `most` bytes.
pub(crate) fn clip(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
