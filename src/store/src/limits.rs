//! The limits of a store, in one visible place, and the check every engine runs first.

use crate::{Commit, CommitError, Condition, Write};

/// What one commit may hold and how much change log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Conditions and writes of one commit together, each counted.
    pub max_operations: usize,
    /// Bytes of one key.
    pub max_key_bytes: usize,
    /// Bytes of one value; less than 32 KiB, above which sled leaves its synced log.
    pub max_value_bytes: usize,
    /// Bytes of all keys and values of one commit.
    pub max_commit_bytes: usize,
    /// Changes kept for watchers and for resolving commit ids.
    pub max_log_changes: usize,
    /// Bytes of keys and values of the changes kept (the newest is always kept).
    pub max_log_bytes: usize,
    /// Watches open at once.
    pub max_watches: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_operations: 2048,
            max_key_bytes: 1024,
            max_value_bytes: 32 * 1024 - 1,
            max_commit_bytes: 8 << 20,
            max_log_changes: 16_384,
            max_log_bytes: 32 << 20,
            max_watches: 1024,
        }
    }
}

impl Limits {
    /// Refuses a commit that exceeds a limit, whole.
    pub(crate) fn check(&self, commit: &Commit) -> Result<(), CommitError> {
        let at_most = |what, found, limit| {
            (found <= limit)
                .then_some(())
                .ok_or(CommitError::TooLarge { what, found, limit })
        };
        let operations = commit.conditions.len().saturating_add(commit.writes.len());
        at_most("operations in the commit", operations, self.max_operations)?;
        let mut total = 0_usize;
        let conditions = commit.conditions.iter().map(|condition| match condition {
            Condition::Equals(key, value) => (key, Some(value)),
            Condition::Absent(key) | Condition::Present(key) => (key, None),
        });
        let writes = commit
            .writes
            .iter()
            .map(|write| (write.key(), write.value()));
        for (key, value) in conditions.chain(writes) {
            if key.is_empty() {
                return Err(CommitError::EmptyKey);
            }
            at_most("key length in bytes", key.len(), self.max_key_bytes)?;
            let value_bytes = value.map_or(0, |value| value.len());
            at_most("value length in bytes", value_bytes, self.max_value_bytes)?;
            total = total.saturating_add(key.len()).saturating_add(value_bytes);
        }
        at_most("commit size in bytes", total, self.max_commit_bytes)
    }
}

/// Bytes of keys and values, the measure of [`Limits::max_log_bytes`].
pub(crate) fn bytes_of(writes: &[Write]) -> usize {
    writes
        .iter()
        .map(|write| {
            write
                .key()
                .len()
                .saturating_add(write.value().map_or(0, |value| value.len()))
        })
        .fold(0, usize::saturating_add)
}
