//! What the threads of one open store share: the change log, the seal, the gate, and
//! whether the store still serves.

use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use super::seal::Sealer;
use crate::StoreError;
use crate::change_log::ChangeLog;

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
            Some(reason) if reason == "closed" => Err(StoreError::Closed),
            Some(reason) => Err(StoreError::Unavailable(reason.clone())),
        }
    }

    /// Waits until the state in sled is that of the log's head and durable.
    pub(super) fn enter(&self) -> Result<RwLockReadGuard<'_, ()>, StoreError> {
        let guard = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.usable()?;
        Ok(guard)
    }
}
