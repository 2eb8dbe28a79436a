//! The naive model of the cache: plain maps, everything computed from scratch on
//! each question, written from the rules and sharing no code with the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity::{Bundle, Entry, EntryId, Selectors, TrustDomain};

use crate::{BundleView, State, X509View};

pub(super) const IN_FLIGHT: i64 = 60;
pub(super) const RETRY_MAX: i64 = 60;

pub(super) struct Known {
    pub(super) entry: Arc<Entry>,
    pub(super) svid: Option<(u64, i64)>,
    pub(super) failed: bool,
    /// When it must be due, and before when it must not.
    pub(super) due: (i64, i64),
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) known: BTreeMap<EntryId, Known>,
    pub(super) own: Option<Arc<Bundle>>,
    pub(super) federated: BTreeMap<TrustDomain, Arc<Bundle>>,
    pub(super) now: i64,
}

/// What a client can see of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Denied,
    Pending,
    X509(Vec<(EntryId, String, u64)>, Vec<(TrustDomain, Vec<u8>)>),
    Bundles(Vec<(TrustDomain, Vec<u8>)>),
}

pub(super) fn seen_x509(state: &State<X509View>) -> Seen {
    match state {
        State::Denied => Seen::Denied,
        State::Pending => Seen::Pending,
        State::Withheld(why) => panic!("nothing is unknown here: {why}"),
        State::Ready(view) => {
            let mark = |i: &crate::Identity| {
                u64::from_be_bytes(i.issued.svid.chain[0].as_ref().try_into().unwrap())
            };
            let one = |i: &crate::Identity| (i.entry.id.clone(), i.entry.hint.clone(), mark(i));
            let bundles = std::iter::once(&view.bundle).chain(&view.federated);
            let bundles = bundles.map(|b| (b.trust_domain.clone(), b.x509_concatenated()));
            Seen::X509(view.identities.iter().map(one).collect(), bundles.collect())
        }
    }
}

pub(super) fn seen_bundles(state: &State<BundleView>, content: fn(&Bundle) -> Vec<u8>) -> Seen {
    match state {
        State::Denied => Seen::Denied,
        State::Pending => Seen::Pending,
        State::Withheld(why) => panic!("nothing is unknown here: {why}"),
        State::Ready(view) => {
            let one = |b: &Arc<Bundle>| (b.trust_domain.clone(), content(b));
            Seen::Bundles(view.bundles.iter().map(one).collect())
        }
    }
}

pub(super) fn x509_of(bundle: &Bundle) -> Vec<u8> {
    bundle.x509_concatenated()
}

pub(super) fn jwt_of(bundle: &Bundle) -> Vec<u8> {
    let keys = bundle.jwt_authorities.iter();
    keys.flat_map(|k| k.key_id.bytes().chain(k.spki.iter().copied()))
        .collect()
}

impl Model {
    pub(super) fn put(&mut self, entry: &Arc<Entry>) {
        let fresh = Known {
            entry: entry.clone(),
            svid: None,
            failed: false,
            due: (i64::MIN, i64::MIN),
        };
        let known = self.known.entry(entry.id.clone()).or_insert(fresh);
        let (old, new) = (known.entry.clone(), entry);
        if old.spiffe_id != new.spiffe_id {
            known.svid = None;
        }
        if (&old.spiffe_id, &old.dns_names, old.x509_ttl)
            != (&new.spiffe_id, &new.dns_names, new.x509_ttl)
        {
            known.failed = false;
            known.due = (i64::MIN, i64::MIN);
        }
        known.entry = entry.clone();
    }

    pub(super) fn advance(&mut self, seconds: i64) {
        self.now += seconds;
        for known in self.known.values_mut() {
            known.svid = known.svid.filter(|(_, not_after)| *not_after > self.now);
        }
    }

    fn is_live(&self, entry: &Entry) -> bool {
        entry.expires_at.is_none_or(|at| at.0 > self.now)
    }

    pub(super) fn members(&self, caller: &Selectors) -> Vec<Arc<Entry>> {
        let has_all = |e: &Entry| e.selectors.iter().all(|s| caller.iter().any(|c| c == s));
        let mut members: Vec<Arc<Entry>> = self
            .known
            .values()
            .map(|known| known.entry.clone())
            .filter(|e| has_all(e) && self.is_live(e) && !e.store_svid)
            .collect();
        members.sort_by_key(|e| (u8::from(e.hint != "default"), e.created_at, e.id.clone()));
        let mut hints = BTreeSet::new();
        members.retain(|e| e.hint.is_empty() || hints.insert(e.hint.clone()));
        members
    }

    pub(super) fn x509(&self, caller: &Selectors) -> Seen {
        let members = self.members(caller);
        if members.is_empty() {
            return Seen::Denied;
        }
        let Some(own) = self.own.as_ref().filter(|b| !b.x509_authorities.is_empty()) else {
            return Seen::Pending;
        };
        let known: Vec<&Known> = members.iter().map(|e| &self.known[&e.id]).collect();
        let awaited = |k: &Known| k.svid.is_none() && !k.failed;
        let first_is_missing = known.first().is_some_and(|k| k.svid.is_none());
        if first_is_missing || known.iter().any(|k| awaited(k)) {
            return Seen::Pending;
        }
        let identities: Vec<_> = known
            .iter()
            .filter_map(|k| Some((k.entry.id.clone(), k.entry.hint.clone(), k.svid?.0)))
            .collect();
        if identities.is_empty() {
            return Seen::Pending;
        }
        let mut bundles = self.bundles_of(&members, own, x509_of);
        bundles.retain(|(_, ders)| !ders.is_empty());
        Seen::X509(identities, bundles)
    }

    pub(super) fn bundles(&self, caller: &Selectors, content: fn(&Bundle) -> Vec<u8>) -> Seen {
        let members = self.members(caller);
        match &self.own {
            _ if members.is_empty() => Seen::Denied,
            None => Seen::Pending,
            Some(own) => Seen::Bundles(self.bundles_of(&members, own, content)),
        }
    }

    fn bundles_of(
        &self,
        members: &[Arc<Entry>],
        own: &Bundle,
        content: fn(&Bundle) -> Vec<u8>,
    ) -> Vec<(TrustDomain, Vec<u8>)> {
        let mut all = vec![(own.trust_domain.clone(), content(own))];
        for (name, bundle) in &self.federated {
            if members.iter().any(|e| e.federates_with.contains(name)) {
                all.push((name.clone(), content(bundle)));
            }
        }
        all
    }

    /// Whether somebody wants the entry's SVID, given the open callers.
    pub(super) fn wanted(&self, known: &Known, callers: &[Selectors]) -> bool {
        let e = &known.entry;
        let prefetched = !e.disable_x509_prefetch && !e.store_svid;
        let is_member = |c: &Selectors| self.members(c).iter().any(|m| m.id == e.id);
        self.is_live(e) && (prefetched || callers.iter().any(is_member))
    }
}
