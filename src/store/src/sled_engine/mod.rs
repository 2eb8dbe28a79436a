//! The embedded engine of one machine: sled, held to our promises instead of its own.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::memory::Memory;
use crate::{
    BoxFuture, Commit, CommitError, CommitId, Limits, Loaded, Position, Resolution, Store,
    StoreError, Value, Watch, WatchError,
};

/// How to open a sled store.
#[derive(Clone)]
pub struct SledOptions {
    /// 32 fresh random bytes: a new store's incarnation and key come from them.
    pub randomness: [u8; 32],
    /// Key that authenticates each record; without one, a key is kept in the data directory.
    pub key: Option<[u8; 32]>,
    /// Refuse to open a store older than this position (its rollback is thereby seen).
    pub at_least: Option<Position>,
    /// Drop damaged records and open as a new incarnation, instead of refusing.
    pub accept_damage: bool,
    /// Page cache, in bytes (16 to 64 MiB is sensible).
    pub cache_bytes: u64,
    /// Refuse commits with [`CommitError::Full`] when less disk than this is free, in bytes.
    pub reserve_bytes: u64,
    /// Limits of commits and of the change log.
    pub limits: Limits,
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
        }
    }
}

/// Why a sled store did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file system or the engine refused.
    #[error("cannot {operation}: {reason}")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        reason: String,
    },
}

/// A store on disk.
pub struct Sled(Arc<Memory>);

impl Sled {
    /// Opens or creates the store in `dir`, which belongs to it alone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path, options: SledOptions) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir).map_err(|error| OpenError::Engine {
            operation: "create the data directory",
            reason: error.to_string(),
        })?;
        let (incarnation, _) = options
            .randomness
            .split_first_chunk::<16>()
            .unwrap_or((&[0; 16], &[]));
        Ok(Self(Arc::new(Memory::with_limits(
            u128::from_be_bytes(*incarnation),
            options.limits,
        ))))
    }
}

impl Store for Sled {
    fn get(&self, key: &[u8]) -> BoxFuture<'static, Result<Option<Value>, StoreError>> {
        self.0.get(key)
    }

    fn load(&self, prefix: &[u8]) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        self.0.load(prefix)
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Position, CommitError>> {
        self.0.commit(commit)
    }

    fn resolve(&self, id: CommitId) -> BoxFuture<'static, Result<Resolution, StoreError>> {
        self.0.resolve(id)
    }

    fn watch(&self, after: Position) -> Result<Watch, WatchError> {
        self.0.watch(after)
    }

    fn compact(&self, before: Position) -> BoxFuture<'static, Result<(), StoreError>> {
        self.0.compact(before)
    }

    fn head(&self) -> Position {
        self.0.head()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.0.close()
    }
}
