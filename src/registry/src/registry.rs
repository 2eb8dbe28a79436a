//! The state itself: what [`Change`]s have left behind, and the plain look-ups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity::{
    Bundle, ConditionIndex, Entry, EntryId, FactIndex, Node, Revocation, Revoked, SpiffeId,
    Timestamp, TrustDomain,
};

use crate::revocations::Revocations;
use crate::slots::{Slot, Slots};
use crate::{Change, Touched};

/// Entries, nodes and bundles of one trust domain.
pub struct Registry {
    trust_domain: TrustDomain,
    pub(crate) slots: Slots,
    pub(crate) by_id: BTreeMap<EntryId, Slot>,
    /// Node aliases by their selectors.
    pub(crate) aliases: ConditionIndex<Slot>,
    expiring: BTreeSet<(Timestamp, EntryId)>,
    pub(crate) nodes: BTreeMap<SpiffeId, Arc<Node>>,
    pub(crate) nodes_by_selector: FactIndex<SpiffeId>,
    /// How many nodes each attestor has attested.
    nodes_by_attestor: BTreeMap<String, usize>,
    bundles: BTreeMap<TrustDomain, Arc<Bundle>>,
    pub(crate) revocations: Revocations,
}

/// How much a registry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Registration entries.
    pub entries: usize,
    /// Attested nodes, banned ones included.
    pub nodes: usize,
    /// Bundles, the own included.
    pub bundles: usize,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            slots: Slots::default(),
            by_id: BTreeMap::new(),
            aliases: ConditionIndex::default(),
            expiring: BTreeSet::new(),
            nodes: BTreeMap::new(),
            nodes_by_selector: FactIndex::default(),
            nodes_by_attestor: BTreeMap::new(),
            bundles: BTreeMap::new(),
            revocations: Revocations::default(),
        }
    }

    /// Whose registry this is.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Moves the state and says whose view may have changed. Infallible: what
    /// was committed has happened. Replays are harmless.
    pub fn apply(&mut self, change: Change) -> Touched {
        match change {
            Change::PutEntry(entry) => self.put_entry(entry),
            Change::DeleteEntry(id) => self.delete_entry(&id),
            Change::PutNode(node) => self.put_node(node),
            Change::DeleteNode(id) => self.delete_node(&id),
            Change::PutBundle(bundle) => {
                let old = self
                    .bundles
                    .insert(bundle.trust_domain.clone(), bundle.clone());
                if old.is_some_and(|old| old == bundle) {
                    Touched::nobody()
                } else {
                    Touched::All
                }
            }
            Change::DeleteBundle(of) => match self.bundles.remove(&of) {
                Some(_) => Touched::All,
                None => Touched::nobody(),
            },
            // Revocations are no agent's view: all of them are sent to all agents.
            Change::PutRevocation(revocation) => {
                self.revocations.put(revocation);
                Touched::nobody()
            }
            Change::DeleteRevocation(what) => {
                self.revocations.delete(&what);
                Touched::nobody()
            }
            Change::RevocationSequence(sequence) => {
                self.revocations.reach(sequence);
                Touched::nobody()
            }
        }
    }

    fn put_entry(&mut self, entry: Arc<Entry>) -> Touched {
        if self.entry(&entry.id).is_some_and(|old| *old == entry) {
            return Touched::nobody();
        }
        let mut touched = self.delete_entry(&entry.id);
        // Handed over, not cloned: an entry nobody else holds can share memory.
        let slot = self.slots.insert(entry);
        let Some(entry) = self.slots.get(slot) else {
            return touched;
        };
        self.by_id.insert(entry.id.clone(), slot);
        if entry.is_node_alias() {
            self.aliases.insert(slot, &entry.selectors);
        }
        if let Some(at) = entry.expires_at {
            self.expiring.insert((at, entry.id.clone()));
        }
        touched.merge(self.reached_by(entry));
        touched
    }

    fn delete_entry(&mut self, id: &EntryId) -> Touched {
        let Some(slot) = self.by_id.get(id).copied() else {
            return Touched::nobody();
        };
        // Asked while the entry still hangs in its place.
        let touched = match self.slots.get(slot) {
            Some(entry) => self.reached_by(entry),
            None => Touched::nobody(),
        };
        self.by_id.remove(id);
        if let Some(entry) = self.slots.remove(slot) {
            if entry.is_node_alias() {
                self.aliases.remove(&slot, &entry.selectors);
            }
            if let Some(at) = entry.expires_at {
                self.expiring.remove(&(at, entry.id.clone()));
            }
        }
        touched
    }

    fn put_node(&mut self, node: Arc<Node>) -> Touched {
        let id = node.id.clone();
        let old = self.nodes.insert(id.clone(), node.clone());
        if let Some(old) = &old {
            self.forget_attestor(&old.attestor);
        }
        let count = self.nodes_by_attestor.entry(node.attestor.to_string());
        *count.or_default() += 1;
        // A renewal changes serials and dates, not what the agent may have.
        if let Some(old) = old {
            if old.selectors == node.selectors {
                return if old.banned == node.banned {
                    Touched::nobody()
                } else {
                    Touched::Agents([id].into())
                };
            }
            self.nodes_by_selector.remove(&id, &old.selectors);
        }
        self.nodes_by_selector.insert(&id, &node.selectors);
        Touched::Agents([id].into())
    }

    fn delete_node(&mut self, id: &SpiffeId) -> Touched {
        let Some(node) = self.nodes.remove(id) else {
            return Touched::nobody();
        };
        self.nodes_by_selector.remove(id, &node.selectors);
        self.forget_attestor(&node.attestor);
        Touched::Agents([id.clone()].into())
    }

    fn forget_attestor(&mut self, attestor: &str) {
        if let Some(count) = self.nodes_by_attestor.get_mut(attestor) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.nodes_by_attestor.remove(attestor);
            }
        }
    }

    /// How many nodes an attestor has attested, banned ones included.
    #[must_use]
    pub fn nodes_of(&self, attestor: &str) -> usize {
        self.nodes_by_attestor.get(attestor).copied().unwrap_or(0)
    }

    /// The entry of that id.
    #[must_use]
    pub fn entry(&self, id: &EntryId) -> Option<&Arc<Entry>> {
        self.slots.get(*self.by_id.get(id)?)
    }

    /// All entries, ordered by id.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_id.values().filter_map(|slot| self.slots.get(*slot))
    }

    /// Another entry with the same SPIFFE ID, parent and selectors: what makes
    /// `entry` a duplicate. The entry itself (same id) is not one.
    #[must_use]
    pub fn find_same(&self, entry: &Entry) -> Option<&Arc<Entry>> {
        self.slots.same(entry)
    }

    /// Up to `limit` entries that have expired at `now`, oldest expiry first.
    /// They no longer count for anything; whoever keeps the store deletes them.
    #[must_use]
    pub fn expired(&self, now: Timestamp, limit: usize) -> Vec<EntryId> {
        let due = self.expiring.iter().take_while(|(at, _)| *at <= now);
        due.take(limit).map(|(_, id)| id.clone()).collect()
    }

    /// The node of that agent ID, banned or not.
    #[must_use]
    pub fn node(&self, id: &SpiffeId) -> Option<&Arc<Node>> {
        self.nodes.get(id)
    }

    /// All nodes, ordered by agent ID.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// The bundle of that trust domain, the own or a federated one.
    #[must_use]
    pub fn bundle(&self, of: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.bundles.get(of)
    }

    /// All bundles, ordered by trust domain, the own included.
    pub fn bundles(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.bundles.values()
    }

    /// All revocations, in order of what they revoke.
    pub fn revocations(&self) -> impl ExactSizeIterator<Item = &Arc<Revocation>> {
        self.revocations.all()
    }

    /// The revocation of exactly that.
    #[must_use]
    pub fn revocation(&self, of: &Revoked) -> Option<&Arc<Revocation>> {
        self.revocations.get(of)
    }

    /// The sequence number of the list of all revocations; never decreases.
    #[must_use]
    pub const fn revocation_sequence(&self) -> u64 {
        self.revocations.sequence()
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            entries: self.by_id.len(),
            nodes: self.nodes.len(),
            bundles: self.bundles.len(),
        }
    }
}
