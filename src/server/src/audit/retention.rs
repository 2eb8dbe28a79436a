//! How long records are kept: sealed segments are copied to the archive, and removed when
//! their time or space is over. Nothing is removed that names a credential which can
//! still be valid, unless it is in the archive.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use identity::{Seconds, Timestamp};
use journal::{Head, JournalError, Priority, Sealed};
use records::AuditKind;

use super::Audit;
use crate::caller::Caller;
use crate::failure::Failure;

/// How long records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Older segments are removed; `None` keeps them whatever their age.
    pub(crate) age: Option<Seconds>,
    /// Beyond so many bytes the oldest segments are removed; `None` is no bound.
    pub(crate) bytes: Option<u64>,
    /// Where sealed segments are copied; then only what is there is removed.
    pub(crate) archive: Option<PathBuf>,
}

/// Retention, and what is in its way.
pub(super) struct Keeping {
    pub(super) rules: Retention,
    /// The longest lifetime of anything that records name.
    longest: Mutex<Seconds>,
    problem: Mutex<String>,
    /// The newest removal that has its record, or that this start found.
    recorded: Mutex<Option<Head>>,
}

impl Keeping {
    pub(super) fn new(rules: Retention, dir: &Path) -> Self {
        Self {
            rules,
            // What cannot be read now is told at the first pass.
            recorded: Mutex::new(journal::removed(dir).ok().flatten()),
            longest: Mutex::new(Seconds(u32::MAX)),
            problem: Mutex::default(),
        }
    }

    pub(super) fn set_longest(&self, longest: Seconds) {
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner) = longest;
    }

    fn longest(&self) -> Seconds {
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_news(&self, removed: Head) -> bool {
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) != Some(removed)
    }

    fn recorded(&self, removed: Head) {
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(removed);
    }

    fn note(&self, problem: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// A sealed segment with the time of its last record, give or take one record.
struct Aged<'a> {
    segment: &'a Sealed,
    newest: Timestamp,
}

/// What decides on the oldest segment.
#[derive(Debug, Clone, Copy)]
struct Situation {
    now: Timestamp,
    longest: Seconds,
    /// Bytes of all segments that are left.
    bytes: u64,
    archived: u64,
    disk_is_full: bool,
}

/// What a look at the segments came to.
#[derive(Debug, Default)]
struct Decided {
    /// The last record to be removed, and whether it is archived.
    remove: Option<(Head, bool)>,
    /// What is in the way of more; empty when nothing is.
    blocked: &'static str,
}

/// What becomes of a segment.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Remove,
    /// Its time is over, but something is in the way.
    Blocked(&'static str),
}

impl Retention {
    fn verdict(&self, aged: &Aged<'_>, at: Situation) -> Verdict {
        let last = aged.segment.last.seq;
        let is_archived = last <= at.archived;
        let too_old = self.age.is_some_and(|age| aged.newest.plus(age) <= at.now);
        let too_much = self.bytes.is_some_and(|most| at.bytes > most);
        let early = at.disk_is_full && is_archived;
        if !(too_old || too_much || early) {
            return Verdict::Keep;
        }
        if is_archived {
            return Verdict::Remove;
        }
        if self.archive.is_some() {
            return Verdict::Blocked("the oldest segments wait for the archive");
        }
        if aged.newest.plus(at.longest) > at.now {
            return Verdict::Blocked(
                "the oldest segments name credentials that can still be valid",
            );
        }
        Verdict::Remove
    }
}

impl Audit {
    /// Archives what is sealed and removes what is over, on a thread that may block.
    pub(crate) async fn retain(&self) {
        let noticed = self.record_removed().await;
        let archived = self.blocking(Self::archive_sealed).await;
        let decided = self.blocking(Self::decide_removal).await;
        let removed = match decided.as_ref().map(|decided| decided.remove) {
            Ok(Some((last, is_archived))) => self.remove(last, is_archived).await,
            Ok(None) | Err(_) => Ok(()),
        };
        let blocked = decided.as_ref().map_or("", |decided| decided.blocked);
        let failures = [
            noticed.err(),
            archived.err(),
            decided.as_ref().err().cloned(),
            removed.err(),
        ];
        let mut problem: Vec<String> = failures.iter().flatten().map(ToString::to_string).collect();
        if !blocked.is_empty() {
            problem.push(blocked.to_owned());
        }
        let problem = problem.join("; ");
        if !problem.is_empty() && self.may_log("retention") {
            tracing::warn!(problem, "retention of the decision log is behind");
        }
        self.0.keeping.note(problem);
    }

    /// What keeps retention or the archive from going on; empty when nothing does.
    pub(crate) fn retention_problem(&self) -> String {
        let problem = self.0.keeping.problem.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records what is about to be removed, and removes it.
    async fn remove(&self, last: Head, is_archived: bool) -> Result<(), Failure> {
        let how = if is_archived {
            "they are archived"
        } else {
            "they are not archived"
        };
        self.record_retention(last, how).await?;
        let removing = self.blocking(move |audit| journal::remove_through(&audit.0.dir, last.seq));
        let removed = removing.await?;
        self.0.keeping.recorded(last);
        tracing::info!(
            removed,
            through = last.seq,
            "old segments of the decision log removed"
        );
        Ok(())
    }

    /// Records what somebody else removed: an administrator's command.
    async fn record_removed(&self) -> Result<(), Failure> {
        let removed = self
            .blocking(|audit| journal::removed(&audit.0.dir))
            .await?;
        if let Some(last) = removed.filter(|last| self.0.keeping.is_news(*last)) {
            self.record_retention(last, "an administrator removed them on this machine")
                .await?;
            self.0.keeping.recorded(last);
        }
        Ok(())
    }

    async fn record_retention(&self, last: Head, how: &str) -> Result<(), Failure> {
        let hash = hex::encode(last.hash);
        let detail = format!(
            "records up to {} (hash {hash}) are removed: {how}",
            last.seq
        );
        let mut record = self.record(AuditKind::Retention, &Caller::Server);
        record.detail = &detail;
        let draft = self.draft(&record)?;
        self.append(vec![draft]).await.map(|_| ())
    }

    fn archive_sealed(&self) -> Result<(), JournalError> {
        let Some(archive) = &self.0.keeping.rules.archive else {
            return Ok(());
        };
        let journal = &self.0.journal;
        let before = journal::archived(&self.0.dir)?.map_or(0, |head| head.seq);
        let sealed = journal.sealed()?;
        if sealed.last().is_none_or(|newest| newest.last.seq <= before) {
            return Ok(());
        }
        let dir: &Path = &self.0.dir;
        let stopping = &self.0.stopping;
        let last = journal::archive(dir, archive, before, |_| !*stopping.borrow())?;
        if let Some(last) = last.filter(|last| last.seq > before) {
            journal::note_archived(dir, &last)?;
            tracing::info!(through = last.seq, "segments of the decision log archived");
        }
        Ok(())
    }

    /// What is to be removed, and what is in the way of more.
    fn decide_removal(&self) -> Result<Decided, JournalError> {
        let journal = &self.0.journal;
        let sealed = journal.sealed()?;
        let disk = self.disk();
        let mut at = Situation {
            now: self.0.clock.now(),
            longest: self.0.keeping.longest(),
            bytes: sealed.iter().map(|segment| segment.bytes).sum(),
            archived: journal::archived(&self.0.dir)?.map_or(0, |head| head.seq),
            disk_is_full: disk
                .refused
                .is_some_and(|stopped| stopped >= Priority::Issuance),
        };
        let mut decided = Decided::default();
        for segment in &sealed {
            let aged = Aged {
                segment,
                newest: self.time_of(segment.last.seq.saturating_add(1), at.now)?,
            };
            match self.0.keeping.rules.verdict(&aged, at) {
                Verdict::Keep => break,
                Verdict::Blocked(why) => {
                    decided.blocked = why;
                    break;
                }
                Verdict::Remove => {
                    decided.remove = Some((segment.last, segment.last.seq <= at.archived));
                    at.bytes = at.bytes.saturating_sub(segment.bytes);
                }
            }
        }
        Ok(decided)
    }

    /// When a record was made; `now` when that cannot be told.
    fn time_of(&self, seq: u64, now: Timestamp) -> Result<Timestamp, JournalError> {
        let stored = self.0.journal.read(seq)?.next().transpose()?;
        let record = stored.and_then(|stored| records::AuditRecord::decode(&stored.payload).ok());
        Ok(record.map_or(now, |record| {
            Timestamp(record.view().at_ms.div_euclid(1_000))
        }))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, Failure> {
        let audit = self.clone();
        let worked = tokio::task::spawn_blocking(move || work(&audit)).await;
        worked
            .map_err(Failure::internal)?
            .map_err(|error| Failure::unavailable(with_cause(&error)))
    }
}

/// An error of the journal with what the file system said.
fn with_cause(error: &JournalError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
