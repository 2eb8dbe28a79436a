//! The hub's other side: what is due, what was issued, what is kept on disk, and
//! what the operator sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use identity::{Bundle, Entry, EntryId, JwtSvid, Timestamp};
use workload::{Counts, Issued, JwtHit};

use super::{Hub, ViewPosition};
use crate::disk::{HeldState, HeldSvid};
use crate::limits;

impl Hub {
    /// A cached JWT-SVID.
    pub(crate) fn jwt(&self, id: &EntryId, audiences: &[String]) -> Option<JwtHit> {
        self.lock().cache.jwt(id, audiences, self.clock.now())
    }

    /// The X.509-SVID that an entry's workloads hold.
    pub(crate) fn issued(&self, id: &EntryId) -> Option<Arc<Issued>> {
        self.lock().cache.x509_of(id).cloned()
    }

    /// Wakes whoever waits: something that is no part of a view has changed.
    pub(crate) fn wake_all(&self) {
        self.lock().show_all(self.clock.boottime());
    }

    /// Keeps a JWT-SVID.
    pub(crate) fn store_jwt(&self, entry: &Entry, audiences: &[String], svid: Arc<JwtSvid>) {
        let mut state = self.lock();
        if state.relies_on_token(&svid) {
            state.cache.store_jwt(entry, audiences, svid);
        }
    }

    /// Takes up to `limit` entries whose X.509-SVIDs are to be issued now.
    pub(crate) fn take_due(&self, limit: usize) -> Vec<Arc<Entry>> {
        self.lock().cache.take_due(self.clock.now(), limit)
    }

    /// How long until something is due or expires, as far as is known.
    pub(crate) fn until_due(&self) -> Duration {
        let now = self.clock.now();
        let due = self.lock().cache.next_due().unwrap_or(Timestamp::MAX);
        Duration::from_secs(due.since(now).0.into()).min(limits::LONGEST_SLEEP)
    }

    /// Takes over issued SVIDs, asked for as the entries beside them.
    pub(crate) fn store_x509(&self, issued: Vec<(Arc<Entry>, Issued)>) {
        let now = self.clock.now();
        let mut state = self.lock();
        for (entry, issued) in issued {
            let jitter = self.jitter();
            let effects = state
                .cache
                .store_x509(&entry, Arc::new(issued), jitter, now);
            self.settle(&mut state, &effects);
            self.look_at_stored(&mut state, &entry.id, now);
        }
        self.note_replaced(&mut state);
        self.unsaved.notify_one();
    }

    /// Notes that these SVIDs could not be issued; they are due again later.
    pub(crate) fn fail_x509<'a>(&self, ids: impl IntoIterator<Item = &'a EntryId>) {
        let now = self.clock.now();
        let mut state = self.lock();
        for id in ids {
            let effects = state.cache.fail_x509(id, self.jitter(), now);
            self.settle(&mut state, &effects);
        }
    }

    /// Makes all SVIDs due within `spread`, as tests want it.
    #[cfg(test)]
    pub(crate) fn rekey(&self, spread: identity::Seconds) {
        let mut state = self.lock();
        let effects = state.cache.renew_all(self.clock.now(), spread);
        self.settle(&mut state, &effects);
        self.due.notify_one();
    }

    /// The server is back: what failed while it was away is due again.
    pub(crate) fn retry_failed(&self) {
        let mut state = self.lock();
        let effects = state.cache.retry_failed(self.clock.now());
        self.settle(&mut state, &effects);
    }

    /// Drops what has expired.
    pub(crate) fn tick(&self) {
        let mut state = self.lock();
        let effects = state.cache.tick(self.clock.now());
        self.settle(&mut state, &effects);
        self.note_replaced(&mut state);
    }

    /// How much there is.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().cache.counts()
    }

    /// How many streams of workloads are open.
    pub(crate) fn open_streams(&self) -> usize {
        self.deliveries.open()
    }

    /// By when the next X.509-SVID is renewed, with the whole of the chance that
    /// renewals are spread over.
    pub(crate) fn next_renewal_by(&self) -> Option<Timestamp> {
        let state = self.lock();
        let issued = state.cache.issued();
        issued.map(|(_, issued)| issued.renewed_by()).min()
    }

    /// Every entry with the expiry of its SVID, for the operator.
    pub(crate) fn inventory(&self) -> Vec<(Arc<Entry>, Option<Timestamp>)> {
        let state = self.lock();
        let expiries: HashMap<&EntryId, Timestamp> = state
            .cache
            .issued()
            .map(|(entry, issued)| (&entry.id, issued.svid.not_after))
            .collect();
        let entries = state.cache.entries();
        entries
            .map(|e| (Arc::clone(e), expiries.get(&e.id).copied()))
            .collect()
    }

    /// What is kept on disk; `None` when there is nothing to keep yet.
    pub(crate) fn held(&self) -> Option<HeldState> {
        let state = self.lock();
        if !state.is_ready || state.is_dismissed {
            return None;
        }
        let position = &state.position;
        Some(HeldState {
            position: if position.is_whole {
                position.position.clone()
            } else {
                Bytes::new()
            },
            view_digest: if position.is_whole {
                position.digest.clone()
            } else {
                Bytes::new()
            },
            entries: state.cache.entries().cloned().collect(),
            svids: state
                .cache
                .issued()
                .map(|(entry, issued)| HeldSvid {
                    entry_id: entry.id.clone(),
                    issued: Arc::clone(issued),
                })
                .collect(),
            federated: state
                .cache
                .federated_bundles()
                .map(|(_, b)| Arc::clone(b))
                .collect(),
        })
    }

    /// Takes over what an earlier run kept.
    pub(crate) fn restore(&self, own: Arc<Bundle>, held: HeldState) {
        self.replace_bundles(own, held.federated);
        let by_id: HashMap<EntryId, Arc<Entry>> = held
            .entries
            .iter()
            .map(|e| (e.id.clone(), Arc::clone(e)))
            .collect();
        let position = ViewPosition {
            is_whole: !held.position.is_empty(),
            position: held.position,
            digest: held.view_digest,
        };
        self.replace_entries(held.entries, position);
        let now = self.clock.now();
        let mut state = self.lock();
        state.current_since = None;
        for svid in held.svids {
            if let Some(entry) = by_id.get(&svid.entry_id) {
                let effects = state
                    .cache
                    .store_x509(entry, svid.issued, self.jitter(), now);
                self.settle(&mut state, &effects);
                self.look_at_stored(&mut state, &entry.id, now);
            }
        }
        self.note_replaced(&mut state);
    }
}
