//! The newest changes in memory: what watchers follow and commit ids resolve against.
//! One instance per open store, shared by its writer and all watchers.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::limits::bytes_of;
use crate::{Change, CommitId, Limits, Position, Resolution, Watch, WatchError, Write};

/// Refused or failed attempts remembered, so that their ids resolve to "not committed".
const MAX_REFUSED: usize = 4096;

pub(crate) struct ChangeLog {
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    head: Position,
    /// Changes with a revision above this one are held, without gaps up to the head.
    floor: u64,
    changes: VecDeque<(CommitId, Change)>,
    bytes: usize,
    ids: HashMap<CommitId, u64>,
    refused: VecDeque<CommitId>,
    watches: HashMap<u64, Option<Waker>>,
    next_watch: u64,
    closed: bool,
}

impl ChangeLog {
    /// A log whose newest position is `head`, holding no changes yet.
    pub(crate) fn new(head: Position, limits: Limits) -> Arc<Self> {
        let state = State {
            head,
            floor: head.revision,
            changes: VecDeque::new(),
            bytes: 0,
            ids: HashMap::new(),
            refused: VecDeque::new(),
            watches: HashMap::new(),
            next_watch: 0,
            closed: false,
        };
        Arc::new(Self {
            limits,
            state: Mutex::new(state),
        })
    }

    /// A panic while the lock was held leaves the state usable: each step is complete.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head(&self) -> Position {
        self.state().head
    }

    pub(crate) fn floor(&self) -> u64 {
        self.state().floor
    }

    /// Appends durable changes in order and wakes the watchers. Each must be the head's successor.
    pub(crate) fn publish(&self, changes: impl IntoIterator<Item = (CommitId, Arc<[Write]>)>) {
        let mut state = self.state();
        for (id, writes) in changes {
            state.head.revision = state.head.revision.saturating_add(1);
            let position = state.head;
            state.bytes = state.bytes.saturating_add(bytes_of(&writes));
            state.ids.insert(id, position.revision);
            state.changes.push_back((id, Change { position, writes }));
            while state.changes.len() > self.limits.max_log_changes.max(1)
                || (state.bytes > self.limits.max_log_bytes && state.changes.len() > 1)
            {
                state.drop_oldest();
            }
        }
        let wakers: Vec<Waker> = state
            .watches
            .values_mut()
            .filter_map(Option::take)
            .collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Notes an attempt that certainly left no trace.
    pub(crate) fn refuse(&self, id: CommitId) {
        let mut state = self.state();
        if state.refused.len() >= MAX_REFUSED {
            state.refused.pop_front();
        }
        state.refused.push_back(id);
    }

    /// Where this id was committed, if that is still in the log.
    pub(crate) fn committed(&self, id: CommitId) -> Option<Position> {
        let state = self.state();
        let revision = *state.ids.get(&id)?;
        Some(Position {
            revision,
            ..state.head
        })
    }

    pub(crate) fn resolve(&self, id: CommitId) -> Resolution {
        let state = self.state();
        match state.ids.get(&id) {
            Some(&revision) => Resolution::Committed(Position {
                revision,
                ..state.head
            }),
            None if state.floor == 0 || state.refused.contains(&id) => Resolution::NotCommitted,
            None => Resolution::Forgotten,
        }
    }

    /// Drops changes up to and including `before`; of another incarnation, none.
    pub(crate) fn compact(&self, before: Position) {
        let mut state = self.state();
        if before.incarnation != state.head.incarnation {
            return;
        }
        while state.floor < before.revision && !state.changes.is_empty() {
            state.drop_oldest();
        }
        let wakers: Vec<Waker> = state
            .watches
            .values_mut()
            .filter_map(Option::take)
            .collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The changes after `from`, up to the head; `None` if some are no longer held.
    pub(crate) fn since(&self, from: u64) -> Option<(Position, Vec<Change>)> {
        let state = self.state();
        let skip = usize::try_from(from.checked_sub(state.floor)?).ok()?;
        let changes = state
            .changes
            .iter()
            .skip(skip)
            .map(|(_, change)| change.clone());
        Some((state.head, changes.collect()))
    }

    /// Ends all watches, now and later.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let watches = mem::take(&mut state.watches);
        drop(state);
        watches.into_values().flatten().for_each(Waker::wake);
    }

    pub(crate) fn watch(self: &Arc<Self>, after: Position) -> Result<Watch, WatchError> {
        let mut state = self.state();
        if state.closed {
            return Err(WatchError::Closed);
        }
        let held = state.floor..=state.head.revision;
        if after.incarnation != state.head.incarnation || !held.contains(&after.revision) {
            return Err(WatchError::Reload);
        }
        if state.watches.len() >= self.limits.max_watches {
            return Err(WatchError::TooMany);
        }
        let id = state.next_watch;
        state.next_watch = id.saturating_add(1);
        state.watches.insert(id, None);
        Ok(Watch::new(
            Arc::clone(self),
            id,
            after.revision.saturating_add(1),
        ))
    }

    pub(crate) fn forget_watch(&self, id: u64) {
        self.state().watches.remove(&id);
    }

    pub(crate) fn poll_change(
        &self,
        id: u64,
        revision: u64,
        context: &Context<'_>,
    ) -> Poll<Result<Change, WatchError>> {
        let mut state = self.state();
        if revision <= state.floor {
            return Poll::Ready(Err(WatchError::Reload));
        }
        let index = usize::try_from(revision.saturating_sub(state.floor).saturating_sub(1));
        if let Some((_, change)) = index.ok().and_then(|index| state.changes.get(index)) {
            return Poll::Ready(Ok(change.clone()));
        }
        if state.closed {
            return Poll::Ready(Err(WatchError::Closed));
        }
        state.watches.insert(id, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl State {
    fn drop_oldest(&mut self) {
        if let Some((id, change)) = self.changes.pop_front() {
            self.bytes = self.bytes.saturating_sub(bytes_of(&change.writes));
            self.ids.remove(&id);
            self.floor = change.position.revision;
        }
    }
}
