//! What is kept of one agent's stream: flags of what changed, and what it has said.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use identity::Timestamp;
use tokio::sync::Notify;

use super::behind::StreamsBehind;
use super::fleet::Progress;

#[derive(Default)]
pub(super) struct Marks {
    pub(super) flags: AtomicU8,
    pub(super) wake: Notify,
    /// Sequence of the own bundle that the agent has given to its workloads.
    pub(super) delivered: AtomicU64,
    /// Sequence of the own bundle by which the agent has replaced all it distrusts.
    pub(super) replaced: AtomicU64,
    /// What it was sent and has acknowledged.
    progress: Mutex<Progress>,
    /// Since when it is known to lack the newest own bundle, and on whose account.
    behind: Mutex<Behind>,
}

#[derive(Default)]
pub(super) struct Behind {
    pub(super) since: Option<Timestamp>,
    pub(super) streams: StreamsBehind,
}

impl Marks {
    pub(super) fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the agent lacks the own bundle of `sequence`; notes since when it does.
    pub(super) fn lacks(&self, sequence: u64, now: Timestamp) -> Option<Timestamp> {
        let mut behind = self.behind();
        if self.delivered.load(Ordering::Acquire) < sequence {
            Some(*behind.since.get_or_insert(now))
        } else {
            behind.since = None;
            None
        }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mark(&self, what: u8) {
        if self.flags.fetch_or(what, Ordering::AcqRel) & what != what {
            self.wake.notify_one();
        }
    }
}
