//! The cache itself: entries in, look-ups out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity::{
    Bundle, ConditionIndex, Entry, EntryId, JwtSvid, Selectors, SpiffeId, Timestamp, TrustDomain,
    ViewDigest,
};

use crate::held::Held;
use crate::jwt::JwtCache;
use crate::order::arrange;
use crate::trust::Trust;
use crate::views::Views;
use crate::{Effects, Issued, JwtHit, Limits, Update};

/// An agent's cache. One lock around it is enough: nothing in it waits.
#[derive(Debug)]
pub struct Cache {
    pub(crate) limits: Limits,
    pub(crate) held: BTreeMap<EntryId, Held>,
    pub(crate) conditions: ConditionIndex<EntryId>,
    pub(crate) schedule: BTreeSet<(Timestamp, EntryId)>,
    pub(crate) prefetched: usize,
    pub(crate) trust: Trust,
    pub(crate) jwt: JwtCache,
    /// IDs that are revoked until that is lifted.
    pub(crate) barred: BTreeSet<SpiffeId>,
    pub(crate) views: Views,
    /// The earliest expiry of anything, or an earlier time.
    pub(crate) next_expiry: Timestamp,
    /// What the shell was last told about the earliest renewal.
    pub(crate) reported_due: Option<Timestamp>,
    digest: ViewDigest,
}

/// How much the cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries.
    pub entries: usize,
    /// X.509-SVIDs.
    pub x509_svids: usize,
    /// JWT-SVIDs.
    pub jwt_svids: usize,
    /// Their bytes.
    pub jwt_bytes: usize,
    /// Views with open streams.
    pub views: usize,
    /// Views kept warm.
    pub idle_views: usize,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: BTreeMap::new(),
            conditions: ConditionIndex::default(),
            schedule: BTreeSet::new(),
            prefetched: 0,
            trust: Trust::default(),
            jwt: JwtCache::default(),
            barred: BTreeSet::new(),
            views: Views::default(),
            next_expiry: Timestamp::MAX,
            reported_due: None,
            digest: ViewDigest::default(),
        }
    }

    /// Takes over news from the server.
    pub fn apply(&mut self, update: Update, now: Timestamp) -> Effects {
        self.expire(now);
        let mut effects = Effects::default();
        match update {
            Update::Snapshot(entries) => {
                let kept: BTreeSet<EntryId> = entries.iter().map(|e| e.id.clone()).collect();
                let gone = self.held.keys().filter(|id| !kept.contains(id));
                let gone: Vec<EntryId> = gone.cloned().collect();
                self.remove(&gone);
                effects.left_out = self.put(entries, now);
            }
            Update::Delta { put, removed } => {
                self.remove(&removed);
                effects.left_out = self.put(put, now);
            }
            Update::Bundles { own, federated } => {
                let old = self.trust.own.clone();
                self.jwt.distrust(old.as_deref(), &own);
                if self.trust.replace(own, federated) {
                    self.views.touch_all();
                }
            }
        }
        self.prefetch();
        self.settle(now, effects)
    }

    fn put(&mut self, entries: Vec<Arc<Entry>>, now: Timestamp) -> usize {
        let mut left_out = 0;
        for entry in entries {
            let id = entry.id.clone();
            let Some(held) = self.held.get_mut(&id) else {
                if self.held.len() >= self.limits.max_entries {
                    left_out += 1;
                    continue;
                }
                self.insert(entry, now);
                continue;
            };
            if held.entry == entry {
                continue;
            }
            self.views.touch(&held.entry.selectors);
            self.digest.remove(&held.entry);
            self.digest.add(&entry);
            self.jwt.remove_entry(&id);
            if held.entry.selectors != entry.selectors {
                self.conditions.remove(&id, &held.entry.selectors);
                self.conditions.insert(id.clone(), &entry.selectors);
            }
            self.views.touch(&entry.selectors);
            held.replace_entry(entry, now);
            if held.prefetched && !held.may_be_prefetched() {
                held.prefetched = false;
                self.prefetched -= 1;
            }
            self.note_expiry_of(&id);
            self.reschedule(&id);
        }
        left_out
    }

    fn insert(&mut self, entry: Arc<Entry>, now: Timestamp) {
        let id = entry.id.clone();
        self.digest.add(&entry);
        self.conditions.insert(id.clone(), &entry.selectors);
        self.views.touch(&entry.selectors);
        self.held.insert(id.clone(), Held::new(entry, now));
        self.note_expiry_of(&id);
        self.reschedule(&id);
    }

    fn remove(&mut self, ids: &[EntryId]) {
        for id in ids {
            let Some(held) = self.held.remove(id) else {
                continue;
            };
            self.digest.remove(&held.entry);
            self.conditions.remove(id, &held.entry.selectors);
            self.views.touch(&held.entry.selectors);
            self.jwt.remove_entry(id);
            self.prefetched -= usize::from(held.prefetched);
            if let Some(at) = held.scheduled {
                self.schedule.remove(&(at, id.clone()));
            }
        }
    }

    /// The entries that match a caller and count at `now`, in the order they are
    /// delivered in, each hint once. Entries for external stores are not among
    /// them.
    #[must_use]
    pub fn matching(&self, caller: &Selectors, now: Timestamp) -> Vec<Arc<Entry>> {
        let mut entries = self.meeting(caller, now);
        arrange(&mut entries);
        entries
    }

    /// The entries whose conditions these selectors meet, in no order.
    pub(crate) fn meeting(&self, caller: &Selectors, now: Timestamp) -> Vec<Arc<Entry>> {
        let near = self.conditions.candidates(caller);
        near.filter_map(|id| self.held.get(&id))
            .map(|held| &held.entry)
            .filter(|entry| entry.selectors.is_subset_of(caller))
            .filter(|entry| !entry.store_svid && !entry.is_expired(now))
            .cloned()
            .collect()
    }

    /// The entry of that id.
    #[must_use]
    pub fn entry(&self, id: &EntryId) -> Option<&Arc<Entry>> {
        self.held.get(id).map(|held| &held.entry)
    }

    /// All entries, ordered by id.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.held.values().map(|held| &held.entry)
    }

    /// The X.509-SVID of that entry, if there is one.
    #[must_use]
    pub fn x509_of(&self, id: &EntryId) -> Option<&Arc<Issued>> {
        self.held.get(id)?.issued.as_ref()
    }

    /// All X.509-SVIDs with their entries, to be sealed on disk. After a restart
    /// give them back with [`Cache::apply`] and [`Cache::store_x509`].
    pub fn issued(&self) -> impl Iterator<Item = (&Arc<Entry>, &Arc<Issued>)> {
        let all = self.held.values();
        all.filter_map(|held| Some((&held.entry, held.issued.as_ref()?)))
    }

    /// The digest of all entries, for the server to compare.
    #[must_use]
    pub const fn digest(&self) -> ViewDigest {
        self.digest
    }

    /// The own trust domain's bundle.
    #[must_use]
    pub fn own_bundle(&self) -> Option<&Arc<Bundle>> {
        self.trust.own.as_ref()
    }

    /// All federated bundles, by trust domain.
    pub fn federated_bundles(&self) -> impl Iterator<Item = (&TrustDomain, &Arc<Bundle>)> {
        self.trust.federated.iter()
    }

    /// A cached JWT-SVID of that entry for exactly those audiences.
    pub fn jwt(&mut self, id: &EntryId, audiences: &[String], now: Timestamp) -> Option<JwtHit> {
        self.jwt.get(id, audiences, now)
    }

    /// Keeps a JWT-SVID that was asked for as `entry`, unless the entry is gone or
    /// now gives another SPIFFE ID, or its key is tainted by now.
    pub fn store_jwt(&mut self, entry: &Entry, audiences: &[String], svid: Arc<JwtSvid>) {
        let held = self.held.get(&entry.id);
        let fits =
            |h: &Held| h.entry.spiffe_id == svid.spiffe_id && h.entry.jwt_ttl == entry.jwt_ttl;
        // It was under way when its key was tainted.
        let own = self.trust.own.as_deref();
        let mut keys = own.into_iter().flat_map(|own| &own.jwt_authorities);
        let tainted = keys.any(|key| key.tainted && *key.key_id == *svid.key_id);
        if held.is_some_and(fits) && !tainted {
            self.jwt
                .put(&entry.id, audiences, svid, self.limits.jwt_svids);
        }
    }

    /// How many views have streams.
    #[must_use]
    pub fn open_views(&self) -> usize {
        self.views.counts().0
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (views, idle_views) = self.views.counts();
        Counts {
            entries: self.held.len(),
            x509_svids: self.held.values().filter(|h| h.issued.is_some()).count(),
            jwt_svids: self.jwt.len(),
            jwt_bytes: self.jwt.bytes(),
            views,
            idle_views,
        }
    }
}
