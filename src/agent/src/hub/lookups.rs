//! What the hub holds, for whoever reports or resumes.

use std::sync::Arc;

use identity::{Entry, Timestamp};

use super::{Hub, ViewPosition};

impl Hub {
    /// When the server last brought the entries up to date, in this run.
    pub(crate) fn current_since(&self) -> Option<Timestamp> {
        self.lock().current_since
    }

    /// All entries, ordered by id.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.lock().cache.entries().cloned().collect()
    }

    /// When the X.509-SVIDs of these entries expire, as far as there are any.
    pub(crate) fn expiries(&self, entries: &[Arc<Entry>]) -> Vec<Option<Timestamp>> {
        let state = self.lock();
        let expiry = |entry: &Arc<Entry>| {
            let issued = state.cache.x509_of(&entry.id);
            issued.map(|issued| issued.svid.not_after)
        };
        entries.iter().map(expiry).collect()
    }

    /// The position of the entries in hand, to resume from.
    pub(crate) fn view_position(&self) -> ViewPosition {
        self.lock().position.clone()
    }
}
