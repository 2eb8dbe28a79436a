//! Random small worlds of entries and nodes, and the naive walk the registry is
//! compared with: a fixpoint over all entries, written from the definition and
//! sharing no code with the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::Change;
use identity::{
    CertificateSerial, Entry, EntryFields, EntryId, Node, Selector, Selectors, SpiffeId, Timestamp,
    TrustDomain,
};
use proptest::prelude::*;

pub(super) const AGENTS: u8 = 4;
pub(super) const NAMES: u8 = 6;
pub(super) const ENTRIES: u8 = 10;
pub(super) const SELECTORS: u8 = 4;

pub(super) fn td() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

pub(super) fn id(path: &str) -> SpiffeId {
    SpiffeId::new(&td(), path).unwrap()
}

pub(super) fn agent(n: u8) -> SpiffeId {
    id(&format!("/spire/agent/test/{n}"))
}

pub(super) fn name(n: u8) -> SpiffeId {
    id(&format!("/w/{n}"))
}

pub(super) fn entry_id(n: u8) -> EntryId {
    EntryId::parse(&format!("e{n}")).unwrap()
}

pub(super) fn selectors(bits: u8) -> Selectors {
    let bit = |n: &u8| bits & (1 << n) != 0;
    let list = (0..SELECTORS).filter(bit);
    Selectors::new(
        list.map(|n| Selector::new("t", &n.to_string()).unwrap())
            .collect(),
    )
    .unwrap()
}

pub(super) fn fields(n: u8, parent: SpiffeId, spiffe_id: SpiffeId) -> EntryFields {
    EntryFields {
        id: entry_id(n),
        spiffe_id,
        parent_id: parent,
        selectors: selectors(1),
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
    }
}

pub(super) fn entry(fields: EntryFields) -> Arc<Entry> {
    Arc::new(Entry::new(fields, &td()).unwrap())
}

pub(super) fn node(n: u8, has: Selectors, banned: bool) -> Arc<Node> {
    Arc::new(Node {
        id: agent(n),
        attestor: if n.is_multiple_of(2) { "even" } else { "odd" }.into(),
        selectors: has,
        serial: CertificateSerial::new(&[n]),
        expires_at: Timestamp(i64::from(n)),
        next: None,
        banned,
        can_reattest: n.is_multiple_of(3),
        agent_version: String::new(),
        attested_at: Timestamp(0),
    })
}

fn any_parent() -> impl Strategy<Value = SpiffeId> {
    prop_oneof![
        2 => (0..AGENTS).prop_map(agent),
        3 => (0..NAMES).prop_map(name),
        2 => Just(id("/spire/server")),
    ]
}

fn any_entry() -> impl Strategy<Value = Arc<Entry>> {
    let who = (0..ENTRIES, any_parent(), 0..NAMES);
    let what = (1..16_u8, 0..4_u8, 0..4_i64, 0..3_u8, any::<bool>());
    (who, what, prop::option::weighted(0.2, 0..10_i64)).prop_map(
        |((n, parent, gives), (bits, fed, created, hint, downstream), expires)| {
            let mut fields = fields(n, parent, name(gives));
            fields.selectors = selectors(bits);
            let federated = (0..2).filter(|b| fed & (1 << b) != 0);
            let domain = |b| TrustDomain::parse(&format!("fed{b}.org")).unwrap();
            fields.federates_with = federated.map(domain).collect();
            fields.created_at = Timestamp(created);
            fields.hint = ["", "a", "b"]
                .get(usize::from(hint))
                .copied()
                .unwrap_or_default()
                .into();
            fields.downstream = downstream;
            fields.expires_at = expires.map(Timestamp);
            entry(fields)
        },
    )
}

pub(super) fn any_change() -> impl Strategy<Value = Change> {
    let a_node = (0..AGENTS, 0..16_u8, prop::bool::weighted(0.15));
    prop_oneof![
        8 => any_entry().prop_map(Change::PutEntry),
        2 => (0..ENTRIES).prop_map(|n| Change::DeleteEntry(entry_id(n))),
        4 => a_node.prop_map(|(n, bits, ban)| Change::PutNode(node(n, selectors(bits), ban))),
        1 => (0..AGENTS).prop_map(|n| Change::DeleteNode(agent(n))),
    ]
}

/// The state, kept the plainest way.
#[derive(Default, Clone)]
pub(super) struct Naive {
    pub(super) entries: BTreeMap<EntryId, Arc<Entry>>,
    pub(super) nodes: BTreeMap<SpiffeId, Arc<Node>>,
}

impl Naive {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::PutEntry(e) => drop(self.entries.insert(e.id.clone(), e.clone())),
            Change::DeleteEntry(id) => drop(self.entries.remove(id)),
            Change::PutNode(n) => drop(self.nodes.insert(n.id.clone(), n.clone())),
            Change::DeleteNode(id) => drop(self.nodes.remove(id)),
            // They play no part in what an agent is authorised for.
            Change::PutBundle(_)
            | Change::DeleteBundle(_)
            | Change::PutRevocation(_)
            | Change::DeleteRevocation(_)
            | Change::RevocationSequence(_) => {}
        }
    }

    /// Grows the set of granted SPIFFE IDs until nothing is added.
    pub(super) fn authorised(&self, agent: &SpiffeId, now: Timestamp) -> BTreeSet<EntryId> {
        let mut granted = BTreeSet::new();
        let Some(node) = self.nodes.get(agent).filter(|n| !n.banned) else {
            return granted;
        };
        let live: Vec<&Arc<Entry>> = self
            .entries
            .values()
            .filter(|e| e.expires_at.is_none_or(|at| at > now))
            .collect();
        let has_all = |e: &Entry| {
            e.selectors
                .iter()
                .all(|wanted| node.selectors.iter().any(|has| has == wanted))
        };
        let mut names: BTreeSet<SpiffeId> = [agent.clone()].into();
        let aliases = live.iter().filter(|e| e.parent_id == id("/spire/server"));
        names.extend(aliases.filter(|e| has_all(e)).map(|e| e.spiffe_id.clone()));
        loop {
            let before = granted.len();
            for e in live
                .iter()
                .filter(|e| names.contains(&e.parent_id))
                .collect::<Vec<_>>()
            {
                granted.insert(e.id.clone());
                names.insert(e.spiffe_id.clone());
            }
            if granted.len() == before {
                return granted;
            }
        }
    }
}
