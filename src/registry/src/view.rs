//! Views: the entries of one agent, their order, and what changed between two of
//! them.

use std::collections::HashSet;
use std::sync::Arc;

use identity::{Entry, EntryId};

/// Sorts entries by creation time, then by id: the order in which an admin made
/// them, stable over restarts and servers.
pub fn sort_in_creation_order(entries: &mut [Arc<Entry>]) {
    entries.sort_unstable_by(|a, b| order_key(a).cmp(&order_key(b)));
}

fn order_key(entry: &Entry) -> (identity::Timestamp, &EntryId) {
    (entry.created_at, &entry.id)
}

/// What makes a new view out of an old one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Delta {
    /// Entries that are new or changed, in creation order.
    pub put: Vec<Arc<Entry>>,
    /// Ids of entries that are gone, in no particular order.
    pub removed: Vec<EntryId>,
}

impl Delta {
    /// Whether the views are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.removed.is_empty()
    }
}

/// What changed from the view `old` to the view `new`; both in creation order,
/// as [`crate::Registry::authorised`] returns them. Linear in their lengths.
#[must_use]
pub fn delta(old: &[Arc<Entry>], new: &[Arc<Entry>]) -> Delta {
    let mut delta = Delta::default();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(was), Some(is)) if order_key(was) == order_key(is) => {
                if !Arc::ptr_eq(was, is) && was != is {
                    delta.put.push(Arc::clone(is));
                }
                old.next();
                new.next();
            }
            (Some(was), Some(is)) if order_key(was) < order_key(is) => {
                delta.removed.push(was.id.clone());
                old.next();
            }
            (Some(was), None) => {
                delta.removed.push(was.id.clone());
                old.next();
            }
            (_, Some(is)) => {
                delta.put.push(Arc::clone(is));
                new.next();
            }
            (None, None) => break,
        }
    }
    // An entry deleted and made again under its old id has another creation
    // time: it looks both gone and new, and is only changed.
    let put: HashSet<&EntryId> = delta.put.iter().map(|e| &e.id).collect();
    delta.removed.retain(|id| !put.contains(id));
    delta
}
