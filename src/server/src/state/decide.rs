//! The one way in which stored state changes: read the rows, decide, commit on the
//! condition that the rows are still what was read; decide again when they are not.
//!
//! What is in memory is behind the store by the time a commit takes to come back
//! through the change log, and may be behind by more. A decision taken from memory
//! and committed against the store's bytes can therefore undo what it never saw, such
//! as a ban. Here the two are one: a decision is given the rows, and each row that it
//! is given becomes a condition of its commit.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use identity::{Entry, EntryId, Node, Revocation, Revoked, SpiffeId, TrustDomain};
use journal::{Draft, Receipt};
use records::{JoinTokenRecord, RecordError, key};
use store::{Condition, Key, Value, Write};
use tokio::sync::{Mutex, MutexGuard};

use super::{CommitFailure, State};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;

/// The rows that a decision is taken on, as the store had them. Each of them is a
/// condition of the commit.
pub(crate) struct Rows {
    trust_domain: TrustDomain,
    rows: HashMap<Key, Option<Value>>,
}

/// What a decision writes, and the records that announce it.
#[derive(Default)]
pub(crate) struct Change {
    /// Appended to the journal before the commit.
    pub(crate) drafts: Vec<Draft>,
    /// Writes of rows that were read.
    pub(crate) writes: Vec<Write>,
    /// Writes of rows that need not be read, because what they hold follows from
    /// their key, as with the parts of a policy set.
    pub(crate) unread: Vec<Write>,
}

/// What a decision comes to.
pub(crate) enum Decision<T> {
    /// Commit this, if the rows are still what the decision was taken on.
    Change(Change, T),
    /// Nothing is to be changed.
    Keep(T),
}

/// A decision that was carried out.
pub(crate) struct Decided<T> {
    /// The decision's own answer.
    pub(crate) answer: T,
    /// One for each of its records, in their order; none when nothing was changed.
    pub(crate) receipts: Vec<Receipt>,
}

impl Rows {
    /// The bytes under a key; `None` when there is no such row.
    ///
    /// # Errors
    /// The row was not asked for when the decision began.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&Value>, Failure> {
        let row = self.rows.get(key).ok_or_else(|| {
            let key = key.escape_ascii();
            Failure::internal(format!("a decision looked at row {key} without naming it"))
        })?;
        Ok(row.as_ref())
    }

    /// Whether there is a row under a key.
    ///
    /// # Errors
    /// As [`Rows::get`].
    pub(crate) fn has(&self, key: &[u8]) -> Result<bool, Failure> {
        Ok(self.get(key)?.is_some())
    }

    /// An attested node.
    ///
    /// # Errors
    /// As [`Rows::get`], or the row cannot be read.
    pub(crate) fn node(&self, id: &SpiffeId) -> Result<Option<Node>, Failure> {
        self.read(&key::node(&self.trust_domain, id), records::decode_node)
    }

    /// A registration entry.
    ///
    /// # Errors
    /// As [`Rows::get`], or the row cannot be read.
    pub(crate) fn entry(&self, id: &EntryId) -> Result<Option<Entry>, Failure> {
        let td = &self.trust_domain;
        self.read(&key::entry(td, id), |bytes| {
            records::decode_entry(bytes, td)
        })
    }

    /// An unused join token.
    ///
    /// # Errors
    /// As [`Rows::get`], or the row cannot be read.
    pub(crate) fn token(&self, sha256: &[u8; 32]) -> Result<Option<JoinTokenRecord>, Failure> {
        let key = key::token(&self.trust_domain, sha256);
        self.read(&key, records::decode_token)
    }

    /// A revocation in force.
    ///
    /// # Errors
    /// As [`Rows::get`], or the row cannot be read.
    pub(crate) fn revocation(&self, what: &Revoked) -> Result<Option<Revocation>, Failure> {
        let td = &self.trust_domain;
        self.read(&key::revocation(td, what), |bytes| {
            records::decode_revocation(bytes, td)
        })
    }

    /// A row of any kind, read by its decoder.
    ///
    /// # Errors
    /// As [`Rows::get`], or the row cannot be read.
    pub(crate) fn read<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, RecordError>,
    ) -> Result<Option<T>, Failure> {
        let Some(bytes) = self.get(key)? else {
            return Ok(None);
        };
        let row = decode(bytes).map_err(|error| {
            let key = key.escape_ascii();
            Failure::internal(format!("the stored record {key} cannot be read: {error}"))
        })?;
        Ok(Some(row))
    }

    /// That every row is still what it was.
    fn conditions(&self) -> Vec<Condition> {
        let conditions = self.rows.iter().map(|(key, value)| match value {
            Some(value) => Condition::Equals(Arc::clone(key), Arc::clone(value)),
            None => Condition::Absent(Arc::clone(key)),
        });
        conditions.collect()
    }

    /// Refuses writes of rows that the decision was not given.
    fn check(&self, writes: &[Write]) -> Result<(), Failure> {
        let unknown = writes
            .iter()
            .find(|write| !self.rows.contains_key(write.key()));
        unknown.map_or(Ok(()), |write| {
            let key = write.key().escape_ascii();
            Err(Failure::internal(format!(
                "a decision wrote row {key} without reading it"
            )))
        })
    }
}

impl State {
    /// Changes stored state: reads the rows under `keys`, lets `decide` decide on them,
    /// records what was decided and commits it if the rows are still the same. When
    /// another writer was faster, all of it is done again, at most
    /// [`limits::DECIDE_TRIES`] times.
    ///
    /// `decide` must depend on its rows, on what it captured, and on what is in memory
    /// only for bounds and for what is kept in step by [`State::hold_sets`]. It may run
    /// several times; of its answers the last one counts.
    ///
    /// When it returns, memory shows what was committed or, where nothing was to be
    /// changed, everything that was committed before.
    ///
    /// # Errors
    /// What `decide` refused; other writers were faster each time; or the journal or
    /// the store failed, its outcome perhaps unknown.
    pub(crate) async fn decide<T, E>(
        &self,
        caller: &Caller,
        keys: Vec<Key>,
        mut decide: impl FnMut(&Rows) -> Result<Decision<T>, E> + Send,
    ) -> Result<Decided<T>, E>
    where
        T: Send,
        E: From<Failure> + Send,
    {
        let _turn = self.0.row_locks.lock(&keys).await;
        let mut attempt = 0;
        loop {
            let rows = self.rows(&keys).await?;
            let (change, answer) = match decide(&rows)? {
                Decision::Change(change, answer) => (change, answer),
                Decision::Keep(answer) => {
                    self.catch_up().await?;
                    let receipts = Vec::new();
                    return Ok(Decided { answer, receipts });
                }
            };
            rows.check(&change.writes)?;
            let mut writes = change.writes;
            writes.extend(change.unread);
            let committed =
                self.record_and_commit(caller, change.drafts, rows.conditions(), writes);
            match committed.await {
                Ok(receipts) => return Ok(Decided { answer, receipts }),
                Err(CommitFailure::Conflict(_)) if attempt < limits::DECIDE_TRIES => {}
                Err(failure) => return Err(Failure::from(failure).into()),
            }
            attempt += 1;
            self.pause(attempt).await?;
            self.catch_up().await?;
        }
    }

    /// Holds the sets of things still, for a decision about a whole set: that no two
    /// entries are alike, that no entry is its own ancestor, which number comes next.
    /// Whoever adds to a set, or takes from it, holds it meanwhile, so that what is in
    /// memory is what is stored. Take this before [`State::decide`], never inside.
    ///
    /// # Errors
    /// Memory cannot be brought up to what is stored.
    pub(crate) async fn hold_sets(&self) -> Result<MutexGuard<'_, ()>, Failure> {
        let held = self.0.admin_writes.lock().await;
        self.catch_up().await?;
        Ok(held)
    }

    async fn rows(&self, keys: &[Key]) -> Result<Rows, Failure> {
        let mut rows = HashMap::with_capacity(keys.len());
        for key in keys {
            let value = self.0.store.get(key).await;
            rows.insert(Arc::clone(key), value.map_err(Failure::unavailable)?);
        }
        Ok(Rows {
            trust_domain: self.0.trust_domain.clone(),
            rows,
        })
    }

    /// Waits until memory shows everything that is stored now.
    async fn catch_up(&self) -> Result<(), Failure> {
        let caught_up = self.wait_applied(self.0.store.head()).await;
        caught_up.map_err(|_late| {
            Failure::unavailable("this server's view of what is stored is too old; try again")
        })
    }

    /// A random time, longer with each attempt, so that writers on several servers do
    /// not meet again.
    async fn pause(&self, attempt: u32) -> Result<(), Failure> {
        let [random] = self.0.entropy.bytes::<1>()?;
        let most = limits::DECIDE_PAUSE_MS << attempt.min(limits::DECIDE_DOUBLINGS);
        let millis = most * u64::from(random) / u64::from(u8::MAX);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(())
    }
}

/// Turns for rows: of the decisions of one server on the same row, one after the other
/// reads and commits, in the order in which they came. Correctness rests on the
/// conditions of commits; this keeps a writer that comes often from making one that
/// comes once start over again and again.
pub(super) struct RowLocks(Vec<Mutex<()>>);

impl RowLocks {
    pub(super) fn new() -> Self {
        Self((0..limits::ROW_LOCKS).map(|_| Mutex::new(())).collect())
    }

    /// Always in ascending order, so that no two wait for each other.
    async fn lock(&self, keys: &[Key]) -> Vec<MutexGuard<'_, ()>> {
        let mut places: Vec<usize> = keys.iter().map(place).collect();
        places.sort_unstable();
        places.dedup();
        let mut held = Vec::with_capacity(places.len());
        for lock in places.into_iter().filter_map(|place| self.0.get(place)) {
            held.push(lock.lock().await);
        }
        held
    }
}

/// Which lock a key belongs to.
fn place(key: &Key) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let hash = usize::try_from(hasher.finish() & u64::from(u32::MAX)).unwrap_or_default();
    hash % limits::ROW_LOCKS
}
