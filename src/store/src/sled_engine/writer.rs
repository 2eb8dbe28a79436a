//! The writer thread: takes what is queued, forms a group, makes it durable, answers.
//!
//! Any failure after the batch went to sled is final: what is on disk is then unknown, so
//! the group's outcome is, and this store serves nothing more until it is opened again.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::{mem, thread};

use futures_channel::oneshot;

use super::group::{CommitAnswer, Group};
use super::guards::{DataSync, drop_sled, free_bytes, guarded};
use super::layout::{self, Head};
use super::mark::Mark;
use super::shared::{CLOSED, Shared};
use crate::limits::bytes_of;
use crate::{Commit, CommitError, CommitId, Position, Resolution, StoreError};

/// A group is written once it has this many commits or bytes, even if more is queued.
const MAX_GROUP_COMMITS: usize = 1024;
const MAX_GROUP_BYTES: usize = 4 << 20;
/// Old change groups removed with one commit group, so that none takes long.
const MAX_TRIMMED: usize = 256;
/// Turns in which just-answered callers may come back before the next group begins.
const MAX_GATHER_TURNS: usize = 16;

pub(super) enum Request {
    Commit(Commit, CommitAnswer),
    Control(Control),
}

/// What ends a group: it must see the outcome of everything queued before it.
pub(super) enum Control {
    Resolve(CommitId, oneshot::Sender<Result<Resolution, StoreError>>),
    Compact(Position, oneshot::Sender<Result<(), StoreError>>),
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    pub(super) db: sled::Db,
    pub(super) data: DataSync,
    pub(super) mark: Mark,
    pub(super) head: Head,
    pub(super) dir: PathBuf,
    pub(super) reserve_bytes: u64,
    pub(super) shared: Arc<Shared>,
    /// Held until sled has let go of its files.
    pub(super) lock: File,
    #[cfg(feature = "planted-faults")]
    pub(super) fault: super::PlantedFault,
    #[cfg(feature = "planted-faults")]
    pub(super) synced_groups: u64,
}

/// Whatever ends the thread, nobody is left waiting.
struct EndShared(Arc<Shared>);

impl Drop for EndShared {
    fn drop(&mut self) {
        self.0.fail("the writer thread ended");
    }
}

impl Writer {
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let _end = EndShared(Arc::clone(&self.shared));
        let mut commits = Vec::new();
        let mut busy = false;
        let closing = loop {
            let Ok(first) = requests.recv() else {
                break None;
            };
            let control = gather(requests, first, &mut commits, busy);
            busy = commits.len() > 1;
            self.commit_all(&mut commits);
            match control {
                None => {}
                Some(Control::Resolve(id, answer)) => {
                    let usable = self.shared.usable();
                    let _gone = answer.send(usable.map(|()| self.shared.log.resolve(id)));
                }
                Some(Control::Compact(before, answer)) => {
                    let _gone = answer.send(self.compact(before));
                }
                Some(Control::Close(answer)) => break Some(answer),
            }
        };
        // Queued behind the close: certainly not written.
        for request in requests.try_iter() {
            if let Request::Commit(commit, answer) = request {
                self.shared.log.refuse(commit.id);
                let _gone = answer.send(Err(StoreError::Closed.into()));
            }
        }
        self.close();
        if let Some(answer) = closing {
            let _gone = answer.send(());
        }
    }

    /// Lets go of sled's files, then of the lock.
    fn close(self) {
        self.shared.fail(CLOSED);
        if let Err(error) = self.mark.sync() {
            tracing::error!(%error, "the mark of the store was not synced");
        }
        let Self { db, lock, .. } = self;
        drop_sled(db);
        drop(lock);
    }

    fn commit_all(&mut self, commits: &mut Vec<(Commit, CommitAnswer)>) {
        if commits.is_empty() {
            return;
        }
        let (shared, db) = (Arc::clone(&self.shared), self.db.clone());
        let mut group = Group::new(&db, &shared.sealer, self.head);
        let mut refused = self.may_write();
        for (commit, answer) in commits.drain(..) {
            let id = commit.id;
            let outcome = refused
                .clone()
                .and_then(|()| shared.admit(&mut group, commit));
            match outcome {
                Ok(position) => group.answers.push((answer, position)),
                Err(error) => {
                    shared.log.refuse(id);
                    let _gone = answer.send(Err(error));
                    refused = refused.and_then(|()| Ok(shared.usable()?));
                }
            }
        }
        let answers = mem::take(&mut group.answers);
        let outcome = refused.and_then(|()| self.write(group));
        for (answer, position) in answers {
            let _gone = answer.send(outcome.clone().map(|()| position));
        }
    }

    fn may_write(&self) -> Result<(), CommitError> {
        self.shared
            .usable()
            .map_err(|error| CommitError::Unavailable(error.to_string()))?;
        #[cfg(feature = "planted-faults")]
        if matches!(self.fault, super::PlantedFault::FullFrom(revision) if self.head.position.revision >= revision)
        {
            return Err(CommitError::Full);
        }
        if free_bytes(&self.dir) < self.reserve_bytes {
            Err(CommitError::Full)
        } else {
            Ok(())
        }
    }

    /// Makes the group durable and visible. Readers wait at the gate meanwhile, so that
    /// nobody sees what may yet be lost.
    fn write(&mut self, group: Group<'_>) -> Result<(), CommitError> {
        if group.changes.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let _gate = shared.gate.write().unwrap_or_else(PoisonError::into_inner);
        let written = guarded(|| {
            let mut batch = group.batch();
            self.trim(&mut batch).map_err(|error| error.to_string())?;
            self.apply(batch, group.head)
        });
        match written {
            Ok(()) => {
                shared.log.publish(group.changes);
                self.head = Head {
                    floor: shared.log.floor(),
                    ..group.head
                };
                Ok(())
            }
            Err(reason) => {
                tracing::error!(%reason, "store failed: nothing more is served");
                shared.fail(&reason);
                Err(CommitError::Unknown)
            }
        }
    }

    fn apply(&mut self, batch: sled::Batch, head: Head) -> Result<(), String> {
        self.db
            .apply_batch(batch)
            .map_err(|error| error.to_string())?;
        #[cfg(feature = "planted-faults")]
        match self.fault {
            super::PlantedFault::SkipFlush => return Ok(()),
            super::PlantedFault::SyncFailsAfter(groups) if self.synced_groups >= groups => {
                return Err("planted sync failure".into());
            }
            _ => self.synced_groups = self.synced_groups.saturating_add(1),
        }
        self.db.flush().map_err(|error| error.to_string())?;
        self.data.sync().map_err(|error| format!("sync: {error}"))?;
        let marked = self.mark.write(head.position, &self.shared.sealer);
        marked.map_err(|error| format!("mark: {error}"))
    }

    /// Removes stored groups whose changes are all at or below the floor.
    fn trim(&self, batch: &mut sled::Batch) -> sled::Result<()> {
        let mut chunks: Vec<sled::IVec> = Vec::new();
        for key in self
            .db
            .scan_prefix(layout::CHANGES_PREFIX)
            .keys()
            .take(MAX_TRIMMED)
        {
            let key = key?;
            let Some((first, chunk)) = layout::changes_of(&key) else {
                continue;
            };
            // A group ends just before the next one begins.
            if chunk == 0 {
                if first > self.head.floor.saturating_add(1) {
                    break;
                }
                chunks.drain(..).for_each(|old| batch.remove(old));
            }
            chunks.push(key);
        }
        Ok(())
    }

    fn compact(&mut self, before: Position) -> Result<(), StoreError> {
        self.shared.usable()?;
        self.shared.log.compact(before);
        let head = Head {
            floor: self.shared.log.floor(),
            ..self.head
        };
        if head == self.head {
            return Ok(());
        }
        self.head = head;
        let written = guarded(|| {
            let mut batch =
                Group::new(&self.db.clone(), &Arc::clone(&self.shared).sealer, head).batch();
            self.trim(&mut batch).map_err(|error| error.to_string())?;
            self.apply(batch, head)
        });
        written.map_err(|reason| {
            self.shared.fail(&reason);
            StoreError::Unavailable(reason)
        })
    }
}

/// Collects commits up to the bounds of a group; returns the request that ended it, if any.
fn gather(
    requests: &Receiver<Request>,
    first: Request,
    commits: &mut Vec<(Commit, CommitAnswer)>,
    busy: bool,
) -> Option<Control> {
    let mut next = Some(first);
    let mut bytes = 0_usize;
    let mut turns = if busy { MAX_GATHER_TURNS } else { 0 };
    loop {
        match next.take() {
            Some(Request::Commit(commit, answer)) => {
                bytes = bytes.saturating_add(bytes_of(&commit.writes));
                commits.push((commit, answer));
                if commits.len() >= MAX_GROUP_COMMITS || bytes >= MAX_GROUP_BYTES {
                    return None;
                }
            }
            Some(Request::Control(control)) => return Some(control),
            None if turns == 0 => return None,
            None => {
                turns = turns.saturating_sub(1);
                thread::yield_now();
                match requests.try_recv() {
                    Ok(request) => next = Some(request),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
                }
                continue;
            }
        }
        next = requests.try_recv().ok();
    }
}
