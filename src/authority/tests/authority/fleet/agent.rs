//! An agent: the real cache, and what it tells its server.

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::rotation::Slot;
use identity::{
    Bundle, Entry, EntryFields, EntryId, Selector, Selectors, SpiffeId, Timestamp, TrustDomain,
};
use workload::{Cache, Issued, Jitter, Limits, Update};

use super::ENTRIES;

/// One agent.
pub(crate) struct Agent {
    pub(super) cache: Cache,
    pub(super) connected: bool,
    /// A stock agent: it fetches by the clock and acknowledges nothing.
    pub(super) polls: bool,
    /// When it last fetched a bundle by polling.
    pub(super) fetched_at: Timestamp,
    /// Sequence of the bundle that its workloads have.
    pub(super) delivered: u64,
    /// Sequence by which it has replaced all it distrusts.
    pub(super) replaced: u64,
    /// What the server was told of both since it started.
    pub(super) told: (u64, u64),
    pub(super) entries: Vec<Arc<Entry>>,
    /// The last that was issued to it, by entry, whatever it did with it.
    pub(super) given: BTreeMap<EntryId, Arc<Issued>>,
}

impl Agent {
    pub(super) fn new(n: usize, polls: bool) -> Self {
        let entries: Vec<_> = (0..ENTRIES).map(|e| entry(n, e)).collect();
        let mut cache = Cache::new(Limits::default());
        let _nobody_waits = cache.apply(Update::Snapshot(entries.clone()), Timestamp(0));
        Self {
            cache,
            connected: true,
            polls,
            fetched_at: Timestamp(0),
            delivered: 0,
            replaced: 0,
            told: (0, 0),
            entries,
            given: BTreeMap::new(),
        }
    }

    /// It stops and starts again with what it kept on disk: all entries, its bundle, and
    /// every SVID, or some of them.
    pub(super) fn restart(&mut self, keeps: impl Fn(&Entry) -> bool, now: Timestamp) {
        let issued = self
            .cache
            .issued()
            .map(|(e, i)| (Arc::clone(e), Arc::clone(i)));
        let issued: Vec<_> = issued.filter(|(entry, _)| keeps(entry)).collect();
        let own = self.cache.own_bundle().cloned();
        self.cache = Cache::new(Limits::default());
        let _nobody_waits = self
            .cache
            .apply(Update::Snapshot(self.entries.clone()), now);
        if let Some(own) = own {
            let update = Update::Bundles {
                own,
                federated: Vec::new(),
            };
            let _nobody_waits = self.cache.apply(update, now);
        }
        for (entry, issued) in issued {
            let _ = self.cache.store_x509(&entry, issued, Jitter::NONE, now);
        }
    }

    /// I11: what was issued to it, has not expired and is not distrusted, it has.
    pub(super) fn check_holdings(&self, now: Timestamp) {
        let Some(own) = self.own() else { return };
        for (id, issued) in &self.given {
            if issued.svid.not_after > now && relies_on(own, &issued.svid.chain[0]) {
                let held = self.cache.x509_of(id);
                let serves = held.is_some_and(|held| held.svid.not_after >= issued.svid.not_after);
                assert!(serves, "I11: an unexpired SVID is no longer served");
            }
        }
    }

    pub(super) fn own(&self) -> Option<&Bundle> {
        self.cache.own_bundle().map(|own| &**own)
    }

    /// What it holds that has not expired, by the key that signed it.
    pub(super) fn held(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Issued>> {
        let all = self.cache.issued().map(|(_, issued)| issued);
        all.filter(move |issued| issued.svid.not_after > now)
    }

    pub(super) fn take_bundle(&mut self, bundle: &Arc<Bundle>, now: Timestamp) {
        let update = Update::Bundles {
            own: Arc::clone(bundle),
            federated: Vec::new(),
        };
        let _nobody_waits = self.cache.apply(update, now);
        let own = Arc::clone(bundle);
        let suspect = move |issued: &Issued| !relies_on(&own, &issued.svid.chain[0]);
        let _nobody_waits = self.cache.renew_suspects(suspect, now);
        self.delivered = bundle.sequence;
        self.note_replaced(now);
    }

    pub(super) fn note_replaced(&mut self, now: Timestamp) {
        let Some(own) = self.own() else { return };
        let good = |issued: &Arc<Issued>| relies_on(own, &issued.svid.chain[0]);
        if self.held(now).all(good) {
            self.replaced = own.sequence;
        }
    }
}

pub(super) fn td() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn entry(agent: usize, n: usize) -> Arc<Entry> {
    let fields = EntryFields {
        id: EntryId::parse(&format!("e{n}")).unwrap(),
        spiffe_id: SpiffeId::new(&td(), &format!("/w/{agent}/{n}")).unwrap(),
        parent_id: SpiffeId::new(&td(), "/spire/agent/test/0").unwrap(),
        selectors: Selectors::new(vec![Selector::new("t", &n.to_string()).unwrap()]).unwrap(),
        x509_ttl: None,
        jwt_ttl: None,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: None,
        dns_names: Vec::new(),
        revision: 0,
        store_svid: false,
        hint: String::new(),
        created_at: Timestamp(0),
        disable_x509_prefetch: false,
        jwt_include_jti: false,
    };
    Arc::new(Entry::new(fields, &td()).unwrap())
}

/// A certificate here is the slot of its key.
pub(super) fn der(slot: Slot) -> Arc<[u8]> {
    slot.to_be_bytes().as_slice().into()
}

pub(super) fn slot_of(der: &[u8]) -> Slot {
    Slot::from_be_bytes(der.try_into().unwrap())
}

/// Whether a bundle vouches for what an authority signed, tainted or not.
pub(super) fn holds(bundle: &Bundle, signer: &[u8]) -> bool {
    let mut all = bundle.x509_authorities.iter();
    all.any(|authority| *authority.der == *signer)
}

fn relies_on(bundle: &Bundle, signer: &[u8]) -> bool {
    let mut all = bundle.x509_authorities.iter();
    all.any(|authority| *authority.der == *signer && !authority.tainted)
}
