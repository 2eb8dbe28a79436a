//! The store that forgets: for tests and for `bulla dev`. Durable means "in this process".

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::ready;

use crate::change_log::ChangeLog;
use crate::{
    BoxFuture, Commit, CommitError, CommitId, Key, Limits, Loaded, Position, Resolution, Store,
    StoreError, Value, Watch, WatchError,
};

/// A store in memory.
pub struct Memory {
    limits: Limits,
    log: Arc<ChangeLog>,
    records: Mutex<Option<BTreeMap<Key, Value>>>,
}

impl Memory {
    /// An empty store; `incarnation` must be random.
    #[must_use]
    pub fn new(incarnation: u128) -> Self {
        Self::with_limits(incarnation, Limits::default())
    }

    /// An empty store with its own limits.
    #[must_use]
    pub fn with_limits(incarnation: u128, limits: Limits) -> Self {
        let log = ChangeLog::new(
            Position {
                incarnation,
                revision: 0,
            },
            limits,
        );
        Self {
            limits,
            log,
            records: Mutex::new(Some(BTreeMap::new())),
        }
    }

    /// `None` once closed. The lock also orders commits with the log's revisions.
    fn records(&self) -> MutexGuard<'_, Option<BTreeMap<Key, Value>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_commit(&self, commit: Commit) -> Result<Position, CommitError> {
        self.limits.check(&commit)?;
        let mut guard = self.records();
        let records = guard
            .as_mut()
            .ok_or_else(|| CommitError::Unavailable("closed".into()))?;
        if let Some(position) = self.log.committed(commit.id) {
            return Ok(position);
        }
        let holds = |condition: &&crate::Condition| {
            condition.holds(records.get(condition.key()).map(|value| &**value))
        };
        if let Some(failed) = commit.conditions.iter().find(|condition| !holds(condition)) {
            return Err(CommitError::Conflict {
                key: Key::clone(failed.key()),
            });
        }
        for write in &commit.writes {
            match write {
                crate::Write::Put(key, value) => records.insert(key.clone(), value.clone()),
                crate::Write::Delete(key) => records.remove(key),
            };
        }
        self.log.publish([(commit.id, commit.writes.into())]);
        Ok(self.log.head())
    }

    fn try_load(&self, prefix: &[u8]) -> Result<Loaded, StoreError> {
        let guard = self.records();
        let records = guard.as_ref().ok_or(StoreError::Closed)?;
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let under = records
            .range::<[u8], _>(from)
            .take_while(|(key, _)| key.starts_with(prefix));
        let records = under
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(Loaded {
            position: self.log.head(),
            records,
        })
    }

    fn if_open<T>(&self, answer: impl FnOnce(&BTreeMap<Key, Value>) -> T) -> Result<T, StoreError> {
        self.records()
            .as_ref()
            .map(answer)
            .ok_or(StoreError::Closed)
    }
}

impl Store for Memory {
    fn get(&self, key: &[u8]) -> BoxFuture<'static, Result<Option<Value>, StoreError>> {
        ready(self.if_open(|records| records.get(key).cloned())).boxed()
    }

    fn load(&self, prefix: &[u8]) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        ready(self.try_load(prefix)).boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Position, CommitError>> {
        let id = commit.id;
        let outcome = self.try_commit(commit);
        if outcome.is_err() {
            self.log.refuse(id);
        }
        ready(outcome).boxed()
    }

    fn resolve(&self, id: CommitId) -> BoxFuture<'static, Result<Resolution, StoreError>> {
        ready(self.if_open(|_| self.log.resolve(id))).boxed()
    }

    fn watch(&self, after: Position) -> Result<Watch, WatchError> {
        self.log.watch(after)
    }

    fn compact(&self, before: Position) -> BoxFuture<'static, Result<(), StoreError>> {
        ready(self.if_open(|_| self.log.compact(before))).boxed()
    }

    fn head(&self) -> Position {
        self.log.head()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.records().take();
        self.log.close();
        ready(()).boxed()
    }
}
