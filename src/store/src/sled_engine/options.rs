//! How to open a sled store, and why it may refuse to.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::{Limits, Position};

/// How to open a sled store.
#[derive(Clone)]
pub struct SledOptions {
    /// 32 fresh random bytes: a new store's incarnation and key come from them.
    pub randomness: [u8; 32],
    /// Key that authenticates each record; without one, a key is kept in the data
    /// directory, which finds damage and careless edits but not a careful thief's.
    pub key: Option<[u8; 32]>,
    /// Refuse to open a store older than this position, which the caller kept elsewhere:
    /// the only way to see that the whole directory was rolled back.
    pub at_least: Option<Position>,
    /// Drop damaged records, accept a rollback, and open as a new incarnation, instead of
    /// refusing. For an operator who has looked at the error first.
    pub accept_damage: bool,
    /// Page cache, in bytes; 16 to 64 MiB is sensible.
    pub cache_bytes: u64,
    /// Refuse commits with [`crate::CommitError::Full`] while less disk than this is free,
    /// in bytes. sled cannot be opened again on a disk that is really full.
    pub reserve_bytes: u64,
    /// Limits of commits and of the change log.
    pub limits: Limits,
    /// How this store breaks its promise, for the checkers' own test.
    #[cfg(feature = "planted-faults")]
    pub fault: super::PlantedFault,
}

impl SledOptions {
    /// The defaults: 32 MiB of cache, 32 MiB of reserve, damage refused.
    #[must_use]
    pub fn new(randomness: [u8; 32]) -> Self {
        Self {
            randomness,
            key: None,
            at_least: None,
            accept_damage: false,
            cache_bytes: 32 << 20,
            reserve_bytes: 32 << 20,
            limits: Limits::default(),
            #[cfg(feature = "planted-faults")]
            fault: super::PlantedFault::None,
        }
    }
}

/// Neither the key nor the randomness is shown.
impl fmt::Debug for SledOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledOptions")
            .field("keyed", &self.key.is_some())
            .field("at_least", &self.at_least)
            .field("accept_damage", &self.accept_damage)
            .field("cache_bytes", &self.cache_bytes)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why a sled store did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has this store open.
    #[error("store is in use by another process")]
    InUse,
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// sled could not read its own files, even without its snapshots.
    #[error("sled cannot open its files: {0}")]
    Engine(String),
    /// The data directory holds a store, but not the key that authenticates it.
    #[error("key of the store is missing or malformed: {}", .0.display())]
    Key(PathBuf),
    /// Something that was committed is damaged, forged or gone.
    #[error("store is damaged: {0}")]
    Damaged(Damage),
}

impl OpenError {
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

/// What was found wrong with a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Keys, escaped, of the first [`Damage::MAX_NAMED`] records that are not authentic.
    pub records: Vec<String>,
    /// How many records are not authentic.
    pub record_count: usize,
    /// The records that are authentic are not the set that was committed.
    pub incomplete: bool,
    /// Commits that were acknowledged are not in the store at all.
    pub rolled_back: bool,
}

impl Damage {
    /// How many damaged records are named, so that the report is bounded.
    pub const MAX_NAMED: usize = 16;

    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, key: &[u8]) {
        self.record_count = self.record_count.saturating_add(1);
        if self.records.len() < Self::MAX_NAMED {
            self.records.push(key.escape_ascii().to_string());
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut findings = Vec::new();
        if self.record_count > 0 {
            let named = self.records.join(", ");
            findings.push(format!(
                "{} records are not authentic ({named})",
                self.record_count
            ));
        }
        if self.incomplete {
            findings.push("records are missing, added or old".to_owned());
        }
        if self.rolled_back {
            findings.push("acknowledged commits are missing".to_owned());
        }
        f.write_str(&findings.join("; "))
    }
}
