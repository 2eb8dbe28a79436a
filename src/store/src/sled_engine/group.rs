//! A commit group being built: commits are judged one after the other, each against the
//! state that the ones before it will leave; then all go to sled as one batch.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use futures_channel::oneshot;

use super::layout::{self, HEAD, Head, Logged};
use super::seal::{Sealed, Sealer};
use crate::{Commit, CommitError, Key, Position, Write};

pub(super) type CommitAnswer = oneshot::Sender<Result<Position, CommitError>>;

/// What a record is within the group: its bytes, if it exists, and whether they are new.
struct Current {
    sealed: Option<Sealed>,
    written: bool,
}

pub(super) struct Group<'a> {
    db: &'a sled::Db,
    sealer: &'a Sealer,
    records: HashMap<Vec<u8>, Current>,
    pub(super) head: Head,
    pub(super) changes: Vec<Logged>,
    /// Who is told what, once the group is durable.
    pub(super) answers: Vec<(CommitAnswer, Position)>,
}

/// Why a commit does not join the group.
pub(super) enum Refusal {
    Commit(CommitError),
    /// sled itself failed: nothing it says can be relied on any more.
    Engine(String),
}

impl<'a> Group<'a> {
    pub(super) fn new(db: &'a sled::Db, sealer: &'a Sealer, head: Head) -> Self {
        let (changes, answers) = (Vec::new(), Vec::new());
        Self {
            db,
            sealer,
            records: HashMap::new(),
            head,
            changes,
            answers,
        }
    }

    /// The position of a commit with this id within this group.
    pub(super) fn position_of(&self, id: crate::CommitId) -> Option<Position> {
        let index = self.changes.iter().position(|(held, _)| *held == id)?;
        let later = self.changes.len().saturating_sub(index).saturating_sub(1);
        let revision = self
            .head
            .position
            .revision
            .checked_sub(u64::try_from(later).ok()?)?;
        Some(Position {
            revision,
            ..self.head.position
        })
    }

    /// Applies the commit to the group if its conditions hold.
    pub(super) fn join(&mut self, commit: Commit) -> Result<Position, Refusal> {
        for condition in &commit.conditions {
            let current = self
                .current(condition.key())?
                .sealed
                .as_ref()
                .map(Sealed::value);
            if !condition.holds(current) {
                let key = Key::clone(condition.key());
                return Err(Refusal::Commit(CommitError::Conflict { key }));
            }
        }
        for write in &commit.writes {
            // Everything that can fail comes before anything changes.
            self.current(write.key())?;
        }
        let revision = self.head.position.revision.saturating_add(1);
        self.head.position.revision = revision;
        for write in &commit.writes {
            self.apply(write, revision);
        }
        self.changes.push((commit.id, commit.writes.into()));
        Ok(self.head.position)
    }

    fn current(&mut self, key: &Key) -> Result<&Current, Refusal> {
        match self.records.entry(layout::record_key(key)) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let found = self.db.get(entry.key());
                let sealed = match found.map_err(|error| Refusal::Engine(error.to_string()))? {
                    None => None,
                    Some(bytes) => {
                        Some(self.sealer.open(entry.key(), &bytes).ok_or_else(|| {
                            let text = format!("record {} is not authentic", key.escape_ascii());
                            Refusal::Commit(CommitError::Unavailable(text))
                        })?)
                    }
                };
                Ok(entry.insert(Current {
                    sealed,
                    written: false,
                }))
            }
        }
    }

    fn apply(&mut self, write: &Write, revision: u64) {
        let key = layout::record_key(write.key());
        let new = write
            .value()
            .map(|value| self.sealer.seal(&key, revision, value));
        if let Some(new) = &new {
            self.head.count = self.head.count.saturating_add(1);
            self.head.sum = self.head.sum.wrapping_add(new.element);
        }
        let old = self.records.insert(
            key,
            Current {
                sealed: new,
                written: true,
            },
        );
        if let Some(old) = old.and_then(|current| current.sealed) {
            self.head.count = self.head.count.saturating_sub(1);
            self.head.sum = self.head.sum.wrapping_sub(old.element);
        }
    }

    /// The batch that makes the group so: records, changes, and the head that vouches for both.
    pub(super) fn batch(&self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (key, current) in self.records.iter().filter(|(_, current)| current.written) {
            match &current.sealed {
                Some(sealed) => batch.insert(key.as_slice(), sealed.bytes.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        let length = u64::try_from(self.changes.len()).unwrap_or(u64::MAX);
        let last = self.head.position.revision;
        let first = last.saturating_sub(length).saturating_add(1);
        if !self.changes.is_empty() {
            for (index, chunk) in (0..).zip(layout::encode_group(&self.changes)) {
                let key = layout::changes_key(first, index);
                batch.insert(&key, self.sealer.seal(&key, last, &chunk).bytes);
            }
        }
        batch.insert(HEAD, self.head.seal(self.sealer));
        batch
    }
}
