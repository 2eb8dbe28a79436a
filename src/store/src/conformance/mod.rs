//! The battery every engine must pass, over the trait alone.
//!
//! Blocking and without a runtime: it runs the futures on its own threads. The battery is
//! itself tested against stores with planted bugs (`tests/conformance.rs`).

mod life;
mod log;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::{
    Commit, CommitError, CommitId, Condition, Key, Limits, Loaded, Position, Store, Value, Write,
    block_on,
};

/// An engine under test.
pub trait Subject: Sync {
    /// A new, empty store with these limits.
    fn fresh(&self, limits: Limits) -> Arc<dyn Store>;

    /// Opens what this store, which the battery has closed, kept; `None` if it keeps nothing.
    fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        drop(store);
        None
    }
}

/// What an engine did wrong.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{case}: {what}")]
pub struct Failure {
    /// The case of the battery.
    pub case: &'static str,
    /// What was expected and what happened.
    pub what: String,
}

type Verdict = Result<(), String>;
type Case = fn(&dyn Subject) -> Verdict;

const CASES: &[(&str, Case)] = &[
    ("an empty store is empty", records::empty),
    (
        "records are put, replaced and deleted",
        records::put_replace_delete,
    ),
    (
        "loads are ordered and keep to their prefix",
        records::prefixes,
    ),
    (
        "conditions decide whether anything is written",
        records::conditions,
    ),
    (
        "writes of a commit apply in order",
        records::order_within_a_commit,
    ),
    ("limits refuse whole commits", records::limits),
    (
        "values and commits up to the limits are kept",
        records::large,
    ),
    ("revisions count commits", log::revisions),
    (
        "a repeated commit id is not applied twice",
        log::repeated_id,
    ),
    ("outcomes can be resolved", log::resolution),
    (
        "watches deliver every change once and in order",
        log::watches,
    ),
    ("a waiting watch is woken", log::waiting_watch),
    ("positions that are not held must reload", log::reload),
    ("a watcher that falls behind must reload", log::bounded),
    ("the number of watches is bounded", log::watch_count),
    (
        "concurrent conditional commits do not lose updates",
        life::counter,
    ),
    (
        "loads and watches fit together while others write",
        life::load_then_follow,
    ),
    ("a closed store serves nothing", life::close),
    ("everything survives reopening", life::reopen),
];

/// Runs every case over fresh stores of `subject`.
///
/// # Errors
/// The first case that failed, and how.
pub fn battery(subject: &dyn Subject) -> Result<(), Failure> {
    CASES
        .iter()
        .try_for_each(|(case, run)| run(subject).map_err(|what| Failure { case, what }))
}

/// The names of the cases, in the order they run.
pub fn cases() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

fn ensure_eq<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T, what: &str) -> Verdict {
    ensure(found == expected, || {
        format!("{what}: {found:?} instead of {expected:?}")
    })
}

fn text<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

/// Names a commit by who makes it and which one it is.
fn id(who: u64, which: u64) -> CommitId {
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&who.to_be_bytes());
    second.copy_from_slice(&which.to_be_bytes());
    CommitId(bytes)
}

fn key(name: impl AsRef<[u8]>) -> Key {
    Key::from(name.as_ref())
}

fn put(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Write {
    Write::Put(key(name), Value::from(value.as_ref()))
}

fn delete(name: impl AsRef<[u8]>) -> Write {
    Write::Delete(key(name))
}

fn commit(
    store: &Arc<dyn Store>,
    id: CommitId,
    conditions: Vec<Condition>,
    writes: Vec<Write>,
) -> Result<Position, CommitError> {
    block_on(store.commit(Commit {
        id,
        conditions,
        writes,
    }))
}

/// An unconditional commit that must succeed.
fn write(store: &Arc<dyn Store>, which: u64, writes: Vec<Write>) -> Result<Position, String> {
    commit(store, id(0, which), Vec::new(), writes).map_err(text)
}

fn get(store: &Arc<dyn Store>, name: &str) -> Result<Option<Vec<u8>>, String> {
    let value = block_on(store.get(name.as_bytes())).map_err(text)?;
    Ok(value.map(|value| value.to_vec()))
}

fn load(store: &Arc<dyn Store>, prefix: impl AsRef<[u8]>) -> Result<Loaded, String> {
    block_on(store.load(prefix.as_ref())).map_err(text)
}

fn as_map(loaded: &Loaded) -> BTreeMap<Key, Value> {
    loaded.records.iter().cloned().collect()
}
