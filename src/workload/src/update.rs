//! What goes into the cache, and what the shell must know after.

use std::sync::Arc;

use identity::{Bundle, Entry, EntryId};

use crate::ViewId;

/// News from the server.
#[derive(Clone, Debug)]
pub enum Update {
    /// These are all entries the agent is authorised for.
    Snapshot(Vec<Arc<Entry>>),
    /// These entries are new or changed, those are gone.
    Delta {
        /// New or changed.
        put: Vec<Arc<Entry>>,
        /// Gone.
        removed: Vec<EntryId>,
    },
    /// These are all bundles: what is not among them is redacted.
    Bundles {
        /// The own trust domain's.
        own: Arc<Bundle>,
        /// Those of the federated trust domains.
        federated: Vec<Arc<Bundle>>,
    },
}

/// What the shell must know after a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Views with a state that moved: wake their streams. Sorted, no repeats.
    pub changed: Vec<ViewId>,
    /// Whether the earliest renewal may have moved: look at
    /// [`crate::Cache::next_due`] again.
    pub reschedule: bool,
    /// How many entries were left out because of [`crate::Limits::max_entries`].
    pub left_out: usize,
}
