//! Reading decision records back: a bounded stream, filtered at the source, that
//! can stay open; and the check of the whole chain.

use std::collections::VecDeque;
use std::path::PathBuf;

use journal::{Head, JournalError};
use records::{AuditKind, AuditOutcome, AuditRecord, Caller};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Audit;
use crate::failure::{Failure, Kind};
use crate::limits;

/// Which records are wanted. Empty and zero mean all.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    /// Only these kinds.
    pub kinds: Vec<AuditKind>,
    /// Only records whose caller or subject is this SPIFFE ID.
    pub spiffe_id: String,
    /// Only records of this entry.
    pub entry_id: String,
    /// Only refusals.
    pub refused_only: bool,
    /// Only records not older than this, in milliseconds since the Unix epoch.
    pub since_ms: i64,
}

impl AuditFilter {
    /// Whether a record is wanted.
    #[must_use]
    pub(crate) fn matches(&self, record: &AuditRecord) -> bool {
        let view = record.view();
        let caller_is = |id: &str| matches!(view.caller, Caller::Spiffe(caller) if caller == id);
        (self.kinds.is_empty() || self.kinds.contains(&view.kind))
            && (self.spiffe_id.is_empty()
                || view.for_whom == self.spiffe_id
                || caller_is(&self.spiffe_id))
            && (self.entry_id.is_empty() || view.entry_id == self.entry_id)
            && (!self.refused_only || view.outcome == AuditOutcome::Refused)
            && view.at_ms >= self.since_ms
    }
}

/// What part of the journal is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditOrder {
    /// Which records.
    pub filter: AuditFilter,
    /// The first record number; 0 is the oldest kept.
    pub from_seq: u64,
    /// The most records; 0 is no limit.
    pub limit: usize,
    /// Only the newest `limit` of them, still oldest first.
    pub newest: bool,
    /// Stay open and give new records as they come.
    pub follow: bool,
}

/// One record read back.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Its number.
    pub seq: u64,
    /// The hash of the record before.
    pub previous_hash: [u8; 32],
    /// Its own hash.
    pub hash: [u8; 32],
    /// What it says.
    pub record: AuditRecord,
}

/// What checking the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The head that was reached, when all is intact.
    pub head: Option<Head>,
    /// How many records were checked.
    pub records: u64,
    /// The first record that cannot be vouched for, and what is wrong, when not.
    pub fault: Option<(u64, String)>,
}

/// What a reader has reached, and what it was sent.
struct Cursor {
    next_seq: u64,
    left: Option<usize>,
}

impl Audit {
    /// Streams records, oldest first. The channel holds few; a slow reader slows the
    /// reading down, and a reader that is gone ends it.
    ///
    /// # Errors
    /// Too many are reading, or `newest` without a limit of at most
    /// [`limits::MAX_AUDIT_NEWEST`]. Faults in the files come as the last item.
    pub(crate) fn list(
        &self,
        order: AuditOrder,
    ) -> Result<mpsc::Receiver<Result<Seen, Failure>>, Failure> {
        if order.newest && !(1..=limits::MAX_AUDIT_NEWEST).contains(&order.limit) {
            let message = format!(
                "the newest records need a limit of 1 to {}",
                limits::MAX_AUDIT_NEWEST
            );
            return Err(Failure::invalid(message));
        }
        let slot = self.reader()?;
        let (to, from) = mpsc::channel(limits::AUDIT_CHANNEL);
        let audit = self.clone();
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(failure) = audit.stream(order, &to).await {
                // The reader may be gone; then there is nobody to tell.
                let _gone = to.send(Err(failure)).await;
            }
        });
        Ok(from)
    }

    /// A reader's place; it is given up when the permit is dropped.
    ///
    /// # Errors
    /// Too many are reading.
    pub(crate) fn reader(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let readers = std::sync::Arc::clone(&self.0.readers);
        readers.try_acquire_owned().map_err(|_full| {
            Failure::new(
                Kind::Exhausted,
                "too many are reading the decision log; try again later",
            )
        })
    }

    async fn stream(
        &self,
        order: AuditOrder,
        to: &mpsc::Sender<Result<Seen, Failure>>,
    ) -> Result<(), Failure> {
        let mut appended = self.0.appended.subscribe();
        appended.mark_unchanged();
        let mut stopping = self.0.stopping.clone();
        let mut cursor = Cursor {
            next_seq: order.from_seq.max(1),
            left: (order.limit != 0).then_some(order.limit),
        };
        let mut newest = order.newest;
        loop {
            cursor = self
                .read_on(&order.filter, cursor, newest, to.clone())
                .await?;
            newest = false;
            if !order.follow || cursor.left == Some(0) {
                return Ok(());
            }
            tokio::select! {
                changed = appended.changed() => if changed.is_err() { return Ok(()) },
                () = to.closed() => return Ok(()),
                _stopped = stopping.changed() => return Ok(()),
            }
        }
    }

    /// Reads from the cursor to the present end, on a thread that may block.
    async fn read_on(
        &self,
        filter: &AuditFilter,
        cursor: Cursor,
        newest: bool,
        to: mpsc::Sender<Result<Seen, Failure>>,
    ) -> Result<Cursor, Failure> {
        let audit = self.clone();
        let filter = filter.clone();
        let read = move || {
            if newest {
                audit.read_newest(&filter, cursor, &to)
            } else {
                audit.read_all(&filter, cursor, &to)
            }
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(Failure::internal)?
    }

    fn read_all(
        &self,
        filter: &AuditFilter,
        mut cursor: Cursor,
        to: &mpsc::Sender<Result<Seen, Failure>>,
    ) -> Result<Cursor, Failure> {
        for seen in self.records_from(cursor.next_seq)? {
            let seen = seen?;
            cursor.next_seq = seen.seq.saturating_add(1);
            if !filter.matches(&seen.record) {
                continue;
            }
            if to.blocking_send(Ok(seen)).is_err() {
                cursor.left = Some(0);
            } else if let Some(left) = &mut cursor.left {
                *left = left.saturating_sub(1);
            }
            if cursor.left == Some(0) {
                break;
            }
        }
        Ok(cursor)
    }

    fn read_newest(
        &self,
        filter: &AuditFilter,
        mut cursor: Cursor,
        to: &mpsc::Sender<Result<Seen, Failure>>,
    ) -> Result<Cursor, Failure> {
        let most = cursor.left.unwrap_or_default();
        let mut kept: VecDeque<Seen> = VecDeque::with_capacity(most.min(64));
        for seen in self.records_from(cursor.next_seq)? {
            let seen = seen?;
            cursor.next_seq = seen.seq.saturating_add(1);
            if filter.matches(&seen.record) {
                if kept.len() == most {
                    kept.pop_front();
                }
                kept.push_back(seen);
            }
        }
        for seen in kept {
            if to.blocking_send(Ok(seen)).is_err() {
                cursor.left = Some(0);
                return Ok(cursor);
            }
        }
        // What follows the newest is not counted against their number.
        cursor.left = None;
        Ok(cursor)
    }

    /// The number of the first record not older than `since_ms`, give or take records
    /// whose times are out of order; found by halving, for logs are long.
    pub(crate) fn first_since(&self, since_ms: i64, newest: u64) -> Result<u64, Failure> {
        let (mut low, mut high) = (1, newest.saturating_add(1));
        while low < high {
            let middle = low.midpoint(high);
            let seen = self.records_from(middle)?.next().transpose()?;
            if seen.is_some_and(|seen| seen.record.view().at_ms < since_ms) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Reads records from a number on. Blocks.
    pub(crate) fn records_from(
        &self,
        seq: u64,
    ) -> Result<impl Iterator<Item = Result<Seen, Failure>>, Failure> {
        let records = self.0.journal.read(seq).map_err(Failure::unavailable)?;
        Ok(records.map(|stored| {
            let stored = stored.map_err(Failure::internal)?;
            Ok(Seen {
                seq: stored.seq,
                previous_hash: stored.prev,
                hash: stored.hash,
                record: AuditRecord::decode(&stored.payload).map_err(Failure::internal)?,
            })
        }))
    }

    /// Checks every record of the chain, against a head kept elsewhere when given.
    ///
    /// # Errors
    /// The files cannot be read. A chain that does not hold is an answer, not an error.
    pub(crate) async fn verify(&self, known: Option<Head>) -> Result<Checked, Failure> {
        let dir: PathBuf = self.0.dir.clone();
        let checked =
            tokio::task::spawn_blocking(move || journal::verify(&dir, known.as_ref())).await;
        match checked.map_err(Failure::internal)? {
            Ok(verified) => Ok(Checked {
                head: Some(verified.head),
                records: verified.head.seq.saturating_sub(verified.before.seq),
                fault: None,
            }),
            Err(JournalError::Damaged(fault)) => Ok(Checked {
                head: None,
                records: 0,
                fault: Some((fault.seq, fault.to_string())),
            }),
            Err(error) => Err(Failure::unavailable(error)),
        }
    }
}
