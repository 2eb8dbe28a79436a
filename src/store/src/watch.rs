//! A watcher is a cursor into the shared change log, so it can neither miss a change
//! nor hold memory of its own: one that falls behind the log's bound must reload.

use std::future::poll_fn;
use std::sync::Arc;

use crate::change_log::ChangeLog;
use crate::{Change, WatchError};

/// Follows the change log without gaps.
pub struct Watch {
    log: Arc<ChangeLog>,
    id: u64,
    next: u64,
}

impl Watch {
    pub(crate) fn new(log: Arc<ChangeLog>, id: u64, next: u64) -> Self {
        Self { log, id, next }
    }

    /// The next change; waits for it. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`WatchError::Reload`] if the change was dropped from the log before this
    /// watcher took it; [`WatchError::Closed`] after the store closed or failed.
    pub async fn next(&mut self) -> Result<Change, WatchError> {
        let change = poll_fn(|context| self.log.poll_change(self.id, self.next, context)).await?;
        self.next = self.next.saturating_add(1);
        Ok(change)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.log.forget_watch(self.id);
    }
}
