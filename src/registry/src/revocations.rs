//! What is revoked, and the sequence number of the list that says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use identity::{Revocation, Revoked};

/// All revocations of a trust domain.
#[derive(Default)]
pub(crate) struct Revocations {
    by_what: BTreeMap<Revoked, Arc<Revocation>>,
    sequence: u64,
}

impl Revocations {
    pub(crate) fn put(&mut self, revocation: Arc<Revocation>) {
        self.by_what.insert(revocation.what.clone(), revocation);
    }

    pub(crate) fn delete(&mut self, what: &Revoked) {
        self.by_what.remove(what);
    }

    /// Replays and reloads never take the number back.
    pub(crate) fn reach(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
    }

    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Revocation>> {
        self.by_what.values()
    }

    pub(crate) fn get(&self, what: &Revoked) -> Option<&Arc<Revocation>> {
        self.by_what.get(what)
    }

    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }
}
