//! What can go wrong, with *unknown outcome* as a case of its own.

use thiserror::Error;

use crate::Key;

/// Why a read, resolve or compact failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The engine cannot serve now, or not any more; the text says why.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// A record is there but is not what was written: damaged or forged.
    #[error("record {key} is not authentic")]
    Corrupt {
        /// The record's key, escaped.
        key: String,
    },
    /// The store was closed.
    #[error("store is closed")]
    Closed,
}

/// Why a commit was not acknowledged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommitError {
    /// A condition did not hold; nothing was written.
    #[error("condition on {} does not hold", key.escape_ascii())]
    Conflict {
        /// The key of the first condition that failed.
        key: Key,
    },
    /// The commit may or may not have become durable: ask [`crate::Store::resolve`].
    #[error("outcome of the commit is unknown")]
    Unknown,
    /// The commit exceeds a limit; nothing was written.
    #[error("{what} is {found}, more than the limit of {limit}")]
    TooLarge {
        /// Which limit.
        what: &'static str,
        /// What the commit has, in that limit's unit.
        found: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A key is empty; nothing was written.
    #[error("empty key")]
    EmptyKey,
    /// The engine cannot write now, or not any more; nothing was written.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The disk is too full to write safely; nothing was written.
    #[error("not enough free disk space")]
    Full,
}

/// A store that cannot serve refuses commits before anything is written.
impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Why a watch ended or could not begin.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WatchError {
    /// The position is of another incarnation, compacted away, or too far behind:
    /// load again and watch from the loaded position.
    #[error("position is no longer in the change log: reload")]
    Reload,
    /// Too many watches at once.
    #[error("too many watches")]
    TooMany,
    /// The store was closed or failed.
    #[error("store is closed")]
    Closed,
}
