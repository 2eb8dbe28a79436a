//! Bytes under keys, one ordered change log. Floor 0.
//!
//! Every state change of a server is one [`Commit`]; readers [`Store::load`] a
//! prefix, then follow with [`Store::watch`]. A [`Position`] is monotone within
//! one incarnation and delivered without gaps. There are no reads at past
//! revisions, and no types: what the bytes mean is the business of `records`.
//!
//! Absent on purpose: a clock, randomness (fresh bytes are an argument), a
//! runtime (engines run their own threads), and any of our other crates.

mod change_log;
pub mod conformance;
mod data;
mod error;
mod limits;
pub mod memory;
pub mod sled_engine;
mod wait;
mod watch;

pub use data::{
    Change, Commit, CommitId, Condition, Key, Loaded, Position, Resolution, Value, Write,
};
pub use error::{CommitError, StoreError, WatchError};
pub use futures_util::future::BoxFuture;
pub use limits::Limits;
pub use wait::block_on;
pub use watch::Watch;

/// One ordered, durable map of bytes with conditional commits and a change log.
///
/// The contract, which [`conformance`] checks for every engine:
/// - commits are atomic, and ordered by their revision: one more for each commit;
/// - `Ok` from [`Store::commit`] means durable; an error other than
///   [`CommitError::Unknown`] means that nothing of the commit happened;
/// - reads see durable commits only, and every commit acknowledged before they began;
/// - everything is limited ([`Limits`]); what exceeds a limit is refused whole.
///
/// The futures need no particular runtime, own what they need, and start their
/// work when the method is called: dropping one does not undo a commit.
pub trait Store: Send + Sync + 'static {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`StoreError`] if the engine cannot read, or what it read is not authentic.
    fn get(&self, key: &[u8]) -> BoxFuture<'static, Result<Option<Value>, StoreError>>;

    /// Every record whose key starts with `prefix`, in key order, as of one position.
    ///
    /// # Errors
    /// [`StoreError`], as for [`Store::get`].
    fn load(&self, prefix: &[u8]) -> BoxFuture<'static, Result<Loaded, StoreError>>;

    /// Applies all writes if all conditions hold, durably, as the next revision.
    ///
    /// A commit whose id is already in the change log is not applied again: the
    /// answer is its position, so a retry is safe. A commit without writes is
    /// allowed and takes a revision (a heartbeat).
    ///
    /// # Errors
    /// See [`CommitError`]; only [`CommitError::Unknown`] leaves the outcome open.
    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Position, CommitError>>;

    /// What became of the commit with this id; waits for commits already queued.
    ///
    /// # Errors
    /// [`StoreError`] if the engine cannot answer now.
    fn resolve(&self, id: CommitId) -> BoxFuture<'static, Result<Resolution, StoreError>>;

    /// Follows the change log from the first change after `after`.
    ///
    /// # Errors
    /// [`WatchError::Reload`] if changes after that position are not (all) held.
    fn watch(&self, after: Position) -> Result<Watch, WatchError>;

    /// Forgets changes up to and including `before`: older positions must reload.
    ///
    /// # Errors
    /// [`StoreError`] if the engine cannot write.
    fn compact(&self, before: Position) -> BoxFuture<'static, Result<(), StoreError>>;

    /// The position of the newest durable commit.
    fn head(&self) -> Position;

    /// Finishes queued commits, then releases files and threads. Later calls fail
    /// with [`StoreError::Closed`]; watches end with [`WatchError::Closed`].
    fn close(&self) -> BoxFuture<'static, ()>;
}
