//! Who may have which entry.
//!
//! An agent is authorised for an entry when a chain of parents leads from the
//! entry to the agent: the entry's parent is the agent itself; or the SPIFFE ID
//! of a node alias (an entry under `/spire/server`) whose selectors the node
//! has; or the SPIFFE ID of another entry for which the agent is authorised.
//! Alias entries themselves are nobody's: they name groups of nodes, not
//! workloads. Expired entries neither count nor lead anywhere. Chains may form
//! cycles; each entry is visited once.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use identity::{Entry, EntryId, Node, SpiffeId, Timestamp};

use crate::view::sort_in_creation_order;
use crate::{Registry, Touched};

/// From how many agents on a change is said to touch all of them.
const MAX_NAMED_AGENTS: usize = 256;

impl Registry {
    /// All entries the agent is authorised for, in creation order (then by id).
    /// Empty for an agent that is unknown or banned. Whether the agent's own SVID
    /// is still valid is for the listener to check.
    #[must_use]
    pub fn authorised(&self, agent: &SpiffeId, now: Timestamp) -> Vec<Arc<Entry>> {
        let Some(node) = self.active_node(agent) else {
            return Vec::new();
        };
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut parents: Vec<&SpiffeId> = vec![agent];
        let aliases = self.aliases.candidates(&node.selectors);
        let aliases = aliases.filter_map(|slot| self.slots.get(slot));
        parents.extend(
            aliases
                .filter(|alias| !alias.is_expired(now))
                .filter(|alias| alias.selectors.is_subset_of(&node.selectors))
                .map(|alias| &alias.spiffe_id),
        );
        while let Some(parent) = parents.pop() {
            for (slot, entry) in self.slots.under(parent) {
                if !entry.is_expired(now) && seen.insert(slot) {
                    found.push(entry.clone());
                    parents.push(&entry.spiffe_id);
                }
            }
        }
        sort_in_creation_order(&mut found);
        found
    }

    /// The entry, if the agent is authorised for it: the question before each
    /// issuance. Walks from the entry up, never the agent's whole set.
    #[must_use]
    pub fn is_authorised(
        &self,
        agent: &SpiffeId,
        id: &EntryId,
        now: Timestamp,
    ) -> Option<Arc<Entry>> {
        let node = self.active_node(agent)?;
        let entry = self.entry(id)?;
        if entry.is_expired(now) || entry.is_node_alias() {
            return None;
        }
        let leads_here = |ancestor: &Ancestor<'_>| match ancestor {
            Ancestor::Agent(id) => **id == *agent,
            Ancestor::Alias(alias) => alias.selectors.is_subset_of(&node.selectors),
        };
        let mut climb = Climb::from(self, entry, Some(now));
        climb.any(|a| leads_here(&a)).then(|| entry.clone())
    }

    /// Whether any entry hangs under this SPIFFE ID: only such an ID can be part
    /// of a ring.
    #[must_use]
    pub fn is_parent(&self, id: &SpiffeId) -> bool {
        self.slots.under(id).next().is_some()
    }

    /// The entries that hang directly under this SPIFFE ID.
    pub fn children<'a>(&'a self, id: &'a SpiffeId) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.slots.under(id).map(|(_, entry)| entry)
    }

    /// Whether a chain of parents would lead from the entry, through others, back
    /// to itself once it is put: such entries are nobody's unless something else
    /// leads there. An entry directly under its own SPIFFE ID does not count: it
    /// is a dead end, and the SPIRE controller manager creates one as a probe.
    #[must_use]
    pub fn would_cycle(&self, entry: &Entry) -> bool {
        if entry.parent_id == entry.spiffe_id {
            return false;
        }
        let mut seen = HashSet::new();
        let mut parents = vec![&entry.parent_id];
        while let Some(parent) = parents.pop() {
            if *parent == entry.spiffe_id {
                return true;
            }
            for (slot, above) in self.slots.giving(parent) {
                if above.id != entry.id && seen.insert(slot) {
                    parents.push(&above.parent_id);
                }
            }
        }
        false
    }

    /// Whose views the entry is in, or would be but for a ban or an expiry.
    pub(crate) fn reached_by(&self, entry: &Entry) -> Touched {
        let mut agents = BTreeSet::new();
        for ancestor in Climb::from(self, entry, None) {
            match ancestor {
                Ancestor::Agent(id) => {
                    agents.insert(id.clone());
                }
                Ancestor::Alias(alias) => {
                    let Some(near) = self.nodes_by_selector.candidates(&alias.selectors) else {
                        continue;
                    };
                    if near.len() > MAX_NAMED_AGENTS {
                        return Touched::All;
                    }
                    let has = |id: &&SpiffeId| {
                        let node = self.nodes.get(*id);
                        node.is_some_and(|n| alias.selectors.is_subset_of(&n.selectors))
                    };
                    agents.extend(near.iter().filter(has).cloned());
                }
            }
            if agents.len() > MAX_NAMED_AGENTS {
                return Touched::All;
            }
        }
        Touched::Agents(agents)
    }

    fn active_node(&self, agent: &SpiffeId) -> Option<&Arc<Node>> {
        self.nodes.get(agent).filter(|node| !node.banned)
    }
}

/// Where a chain of parents ends.
enum Ancestor<'a> {
    Agent(&'a SpiffeId),
    Alias(&'a Entry),
}

/// Walks from an entry up all chains of parents, each entry once.
struct Climb<'a> {
    registry: &'a Registry,
    /// `None` climbs over expired entries as well.
    now: Option<Timestamp>,
    seen: HashSet<u32>,
    parents: Vec<&'a SpiffeId>,
    ready: Vec<Ancestor<'a>>,
}

impl<'a> Climb<'a> {
    fn from(registry: &'a Registry, entry: &'a Entry, now: Option<Timestamp>) -> Self {
        let mut climb = Self {
            registry,
            now,
            seen: HashSet::new(),
            parents: Vec::new(),
            ready: Vec::new(),
        };
        climb.step(entry);
        climb
    }

    fn step(&mut self, entry: &'a Entry) {
        if entry.is_node_alias() {
            self.ready.push(Ancestor::Alias(entry));
        } else if entry.parent_id.is_agent() {
            self.ready.push(Ancestor::Agent(&entry.parent_id));
        } else {
            self.parents.push(&entry.parent_id);
        }
    }
}

impl<'a> Iterator for Climb<'a> {
    type Item = Ancestor<'a>;

    fn next(&mut self) -> Option<Ancestor<'a>> {
        loop {
            if let Some(ancestor) = self.ready.pop() {
                return Some(ancestor);
            }
            let parent = self.parents.pop()?;
            let registry = self.registry;
            for (slot, entry) in registry.slots.giving(parent) {
                let expired = self.now.is_some_and(|now| entry.is_expired(now));
                if !expired && self.seen.insert(slot) {
                    self.step(entry);
                }
            }
        }
    }
}
