//! Decision records: written before the deed, read back for `bulla audit`.
//!
//! A record that cannot be made durable means that the deed does not happen. What
//! reaches a record is what an auditor needs; secrets and selectors never do.
//!
//! Who may cause how many records is in [`budget`], how much disk they may use in
//! [`disk`], and what happens by itself in [`keeper`].

mod audiences;
mod budget;
mod disk;
mod health;
mod keeper;
mod outstanding;
mod priority;
mod read;
mod retention;
mod taken;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use duty::Duty;
use identity::{Revoked, Timestamp};
use journal::{Binding, Draft, Journal, JournalError, Priority, Receipt};
use records::{AuditKind, AuditOutcome, AuditRecord};
use tokio::sync::{Semaphore, watch};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::clock_guard::ClockGuard;
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::metrics::{self, Meters};

pub(crate) use audiences::recorded_audiences;
pub(crate) use budget::Shares;
pub(crate) use disk::{DiskStatus, Watermarks, free_bytes, release_reserve};
pub(crate) use health::JournalHealth;
pub(crate) use keeper::keep;
pub(crate) use outstanding::{Found, Issued};
pub(crate) use read::{AuditFilter, AuditOrder, Seen};
pub(crate) use retention::Retention;

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
    /// Since when the journal cannot write.
    trouble: health::Trouble,
    budget: budget::Budget,
    disk: disk::Disk,
    keeping: retention::Keeping,
    outstanding: Mutex<outstanding::Outstanding>,
}

/// What a decision log stands on.
pub(crate) struct AuditParts {
    /// The open journal.
    pub(crate) journal: Journal,
    /// Where its files are.
    pub(crate) dir: PathBuf,
    /// The directory whose space is watched, and how.
    pub(crate) disk: (PathBuf, Watermarks),
    /// How many bytes of records each caller may cause.
    pub(crate) shares: Shares,
    /// How long records are kept.
    pub(crate) retention: Retention,
    /// The time of the newest record, in milliseconds since the Unix epoch.
    pub(crate) newest_ms: i64,
    /// The clock.
    pub(crate) clock: Clock,
    /// What is counted.
    pub(crate) meters: Meters,
    /// The duty that each durable record fulfils.
    pub(crate) duty: Duty,
}

impl Audit {
    /// A decision log on an open journal.
    pub(crate) fn new(parts: AuditParts, stopping: watch::Receiver<bool>) -> Self {
        let AuditParts { journal, clock, .. } = parts;
        Self(Arc::new(Parts {
            appended: watch::Sender::new(journal.head().seq),
            journal,
            keeping: retention::Keeping::new(parts.retention, &parts.dir),
            dir: parts.dir,
            guard: ClockGuard::new(clock.clone(), parts.newest_ms),
            budget: budget::Budget::new(parts.shares, clock.since_boot()),
            clock,
            meters: parts.meters,
            duty: parts.duty,
            readers: Arc::new(Semaphore::new(limits::MAX_AUDIT_READERS)),
            trouble: health::Trouble::default(),
            disk: disk::Disk::new(&parts.disk.0, parts.disk.1),
            outstanding: Mutex::default(),
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
    /// It does not fit into one record, or the caller asks for more than its share of the
    /// log holds.
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
        self.charge(record, payload.len())?;
        Ok(Draft {
            priority: priority::of(record),
            binding,
            payload,
        })
    }

    /// Before anything is signed: whoever asks for it pays for its record.
    fn charge(&self, record: &records::Audit<'_>, bytes: usize) -> Result<(), Failure> {
        let (records::Caller::Spiffe(caller), true) =
            (record.caller, priority::is_charged(record.kind))
        else {
            return Ok(());
        };
        let now = self.0.clock.since_boot();
        let charged = self.0.budget.charge(caller, record.entry_id, bytes, now);
        charged.map_err(|source| {
            metrics::count(metrics::RECORDS_OVER_SHARE);
            if self.0.trouble.may_log("share", now) {
                tracing::warn!(%source, "asks for more than its share of the decision log holds");
            }
            Failure::new(
                Kind::Exhausted,
                format!("{source} asks for more in a short time than its share of the decision log holds; keep what was issued and use it again, or try again in a minute"),
            )
        })
    }

    /// Appends a group of records; returns when all of them are durable.
    ///
    /// # Errors
    /// They are not (or nobody knows): what they announce must not happen.
    pub(crate) async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, Failure> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let priority = drafts.iter().map(|draft| draft.priority).max();
        self.0.disk.admit(priority.unwrap_or_default())?;
        let issued = issued(&drafts);
        let started = self.0.clock.since_boot();
        let count = metrics::number(drafts.len());
        self.0.meters.audit_lag.increment(count);
        let receipts = self.0.journal.append(drafts).await;
        self.0.meters.audit_lag.decrement(count);
        let took = self.0.clock.since_boot().saturating_sub(started);
        self.0.meters.append_seconds.record(took.as_secs_f64());
        self.report(receipts.as_ref().err());
        let receipts = receipts.map_err(|error| self.no_record(&error))?;
        if let Some(newest) = receipts.last() {
            let seq = newest.seq();
            self.0
                .appended
                .send_if_modified(|at| std::mem::replace(at, seq.max(*at)) < seq);
            self.0.guard.recorded();
        }
        self.note_issued(issued);
        Ok(receipts)
    }

    fn no_record(&self, error: &JournalError) -> Failure {
        let now = self.0.clock.since_boot();
        if self.0.trouble.may_log("record", now) {
            tracing::error!(%error, "decisions cannot be recorded, so nothing is done");
        }
        let kind = match error {
            JournalError::TooLarge { .. } => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Failure::new(
            kind,
            "the decision could not be recorded, so nothing was done; try again",
        )
    }

    fn note_issued(&self, issued: Vec<Issued>) {
        if issued.is_empty() {
            return;
        }
        let now = self.0.clock.now();
        let mut outstanding = self.outstanding();
        for one in issued {
            outstanding.note(one, now);
        }
    }

    fn outstanding(&self) -> std::sync::MutexGuard<'_, outstanding::Outstanding> {
        let outstanding = self.0.outstanding.lock();
        outstanding.unwrap_or_else(PoisonError::into_inner)
    }

    /// What is outstanding that `what` would revoke, the newest first.
    pub(crate) fn find_outstanding(&self, what: &Revoked, now: Timestamp) -> Found {
        self.outstanding().find(what, now, limits::MAX_REVOKED_HITS)
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
            // The record was at fault, or the disk, which has a check of its own: a new
            // start would help neither.
            Some(JournalError::TooLarge { .. } | JournalError::Full) => {}
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
        let drafts: Vec<Draft> = refusals
            .iter()
            .filter_map(|refusal| self.refusal_draft(refusal))
            .collect();
        let count = drafts.len();
        if let Err(error) = self.append(drafts).await
            && self.0.trouble.may_log("refusal", self.0.clock.since_boot())
        {
            tracing::error!(%error, count, "refusals could not be recorded");
        }
    }

    /// The record of a refusal, with its log line; none when the caller was refused too
    /// often: then it is counted, and told together with others.
    pub(crate) fn refusal_draft(&self, refusal: &Refusal<'_>) -> Option<Draft> {
        let reason = clip(refusal.reason, limits::MAX_REASON_BYTES);
        let mut record = self.record(refusal.kind, refusal.caller);
        record.outcome = AuditOutcome::Refused;
        record.for_whom = refusal.for_whom;
        record.entry_id = refusal.entry_id;
        record.reason = reason;
        let now = (self.0.clock.since_boot(), self.0.clock.now_ms());
        let fits = self.0.disk.admit(priority::of(&record)).is_ok();
        let budget = &self.0.budget;
        let recorded = if fits {
            budget.may_record(refusal.caller, refusal.entry_id, now)
        } else {
            budget.count_unrecorded(refusal.caller, now);
            false
        };
        if !recorded {
            metrics::count(metrics::REFUSALS_UNRECORDED);
            return None;
        }
        tracing::info!(
            kind = refusal.kind.as_str(),
            caller = %refusal.caller,
            subject = refusal.for_whom,
            entry = refusal.entry_id,
            reason,
            "refused"
        );
        let payload = record.encode().ok()?;
        Some(Draft {
            priority: priority::of(&record),
            binding: Binding::NONE,
            payload,
        })
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

/// What the records say is about to be issued.
fn issued(drafts: &[Draft]) -> Vec<Issued> {
    let issuing = drafts
        .iter()
        .filter(|draft| draft.priority >= Priority::Issuance && draft.binding != Binding::NONE);
    issuing
        .filter_map(|draft| Issued::of(&AuditRecord::decode(&draft.payload).ok()?))
        .collect()
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
mod bounds_tests;
#[cfg(test)]
mod tests;
