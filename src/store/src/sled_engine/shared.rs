//! What the threads of one open store share: the change log, the seal, the gate, and
//! whether the store still serves.

use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use super::group::{Group, Refusal};
use super::guards::guarded;
use super::seal::Sealer;
use crate::change_log::ChangeLog;
use crate::{Commit, CommitError, Position, StoreError};

/// The reason that is no failure.
pub(super) const CLOSED: &str = "closed";

pub(super) struct Shared {
    pub(super) log: Arc<ChangeLog>,
    pub(super) sealer: Sealer,
    /// Held for writing from a batch's way into sled until it is durable and published.
    pub(super) gate: RwLock<()>,
    failed: OnceLock<String>,
}

impl Shared {
    pub(super) fn new(log: Arc<ChangeLog>, sealer: Sealer) -> Self {
        Self {
            log,
            sealer,
            gate: RwLock::new(()),
            failed: OnceLock::new(),
        }
    }

    /// Nothing more is served; the first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        self.failed.get_or_init(|| reason.to_owned());
        self.log.close();
    }

    pub(super) fn usable(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            None => Ok(()),
            Some(reason) if reason == CLOSED => Err(StoreError::Closed),
            Some(reason) => Err(StoreError::Unavailable(reason.clone())),
        }
    }

    /// Waits until the state in sled is that of the log's head and durable.
    pub(super) fn enter(&self) -> Result<RwLockReadGuard<'_, ()>, StoreError> {
        let guard = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.usable()?;
        Ok(guard)
    }

    /// Lets a commit join the group, unless it was committed before.
    pub(super) fn admit(
        &self,
        group: &mut Group<'_>,
        commit: Commit,
    ) -> Result<Position, CommitError> {
        let known = self
            .log
            .committed(commit.id)
            .or_else(|| group.position_of(commit.id));
        if let Some(position) = known {
            return Ok(position);
        }
        let reason = match guarded(|| Ok(group.join(commit))) {
            Ok(Ok(position)) => return Ok(position),
            Ok(Err(Refusal::Commit(error))) => return Err(error),
            Ok(Err(Refusal::Engine(reason))) | Err(reason) => reason,
        };
        self.fail(&reason);
        Err(CommitError::Unavailable(reason))
    }
}
