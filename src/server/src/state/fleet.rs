//! The agents as an operator sees them: who follows, who polls, who is away, and
//! how far behind each is. One look at what the push streams and the polls leave
//! behind anyway; nothing is kept for it but what each stream was sent last.

use std::collections::HashMap;
use std::sync::Arc;

use identity::{Entry, Node, SpiffeId, Timestamp};

use registry::Registry;

use super::{Heard, State, millis};
use crate::attest::AGENT_SELECTOR;
use crate::limits;

/// How an agent is heard from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    /// It has no stream and has not polled of late.
    Away,
    /// It follows the push stream.
    Following(Following),
    /// It polls.
    Polling {
        /// When it last did.
        at: Timestamp,
        /// Sequence of the own bundle it fetched last.
        bundle: u64,
    },
}

/// How far an agent that follows has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Following {
    /// Since when.
    pub(crate) since: Timestamp,
    /// Revision of the last change sent to it.
    pub(crate) sent: u64,
    /// Revision of the last change it acknowledged.
    pub(crate) acknowledged: u64,
    /// How long it has owed an acknowledgement, milliseconds.
    pub(crate) lag_ms: u64,
    /// Sequence of the own bundle its workloads have.
    pub(crate) bundle: u64,
    /// Entries it is authorised for.
    pub(crate) entries: u64,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentState {
    /// What is registered of it.
    pub(crate) node: Arc<Node>,
    /// How it is heard from.
    pub(crate) contact: Contact,
    /// When it was last heard from; `None` since this server started.
    pub(crate) heard: Option<Heard>,
    /// Its other names: SPIFFE IDs that entries give to it or to a group it is in.
    pub(crate) aliases: Vec<SpiffeId>,
}

/// What one stream was sent and has acknowledged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) since: Timestamp,
    sent: u64,
    acknowledged: u64,
    /// Boot-clock milliseconds of the oldest thing sent that is not acknowledged.
    owed_since_ms: Option<u64>,
    entries: u64,
}

impl Progress {
    /// Notes that the agent was sent everything up to `revision`, `entries` in all.
    pub(super) fn sent(&mut self, revision: u64, entries: u64, now_ms: u64) {
        self.sent = revision;
        self.entries = entries;
        self.owed_since_ms.get_or_insert(now_ms);
    }

    /// Notes what the agent says it has applied. A revision it was never sent is not
    /// believed.
    pub(super) fn acknowledge(&mut self, revision: u64) {
        if revision > self.sent {
            return;
        }
        self.acknowledged = self.acknowledged.max(revision);
        if self.acknowledged == self.sent {
            self.owed_since_ms = None;
        }
    }

    pub(super) fn look(&self, bundle: u64, now_ms: u64) -> Following {
        let owed = self.owed_since_ms.map(|since| now_ms.saturating_sub(since));
        Following {
            since: self.since,
            sent: self.sent,
            acknowledged: self.acknowledged,
            lag_ms: owed.unwrap_or(0),
            bundle,
            entries: self.entries,
        }
    }
}

impl State {
    /// Every attested agent as it is now.
    #[must_use]
    pub(crate) fn fleet(&self) -> HashMap<SpiffeId, AgentState> {
        let following = self
            .0
            .subscribers
            .progress(millis(self.0.clock.since_boot()));
        let polling = self.0.pollers.live(self.0.clock.now());
        let contact = |id: &SpiffeId| match (following.get(id), polling.get(id)) {
            (Some(following), _) => Contact::Following(*following),
            (None, Some((at, bundle))) => Contact::Polling {
                at: *at,
                bundle: *bundle,
            },
            (None, None) => Contact::Away,
        };
        let mut heard = self.0.contacts.all();
        let registry = self.registry();
        let groups = self.groups(&registry);
        let agents = registry.nodes().map(|node| {
            let state = AgentState {
                node: Arc::clone(node),
                contact: contact(&node.id),
                heard: heard.remove(&node.id),
                aliases: aliases(&registry, &groups, node),
            };
            (node.id.clone(), state)
        });
        agents.collect()
    }

    /// The entries that name groups of nodes.
    fn groups(&self, registry: &Registry) -> Vec<Arc<Entry>> {
        let Ok(server) = SpiffeId::new(&self.0.trust_domain, "/spire/server") else {
            return Vec::new();
        };
        let groups = registry.children(&server);
        groups.take(limits::MAX_GROUPS_LOOKED_AT).cloned().collect()
    }
}

/// The names that entries give to an agent: its own first, then those of its groups.
fn aliases(registry: &Registry, groups: &[Arc<Entry>], node: &Node) -> Vec<SpiffeId> {
    let is_own = |entry: &&Arc<Entry>| match entry.selectors.as_slice() {
        [only] => only.kind() == AGENT_SELECTOR && only.value() == node.id.as_str(),
        _ => false,
    };
    let own = registry.children(&node.id).filter(is_own);
    let groups = groups.iter();
    let groups = groups.filter(|entry| entry.selectors.is_subset_of(&node.selectors));
    let all = own.chain(groups).map(|entry| entry.spiffe_id.clone());
    all.take(limits::MAX_SHOWN_OF_AGENT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_the_oldest_thing_not_acknowledged() {
        let mut progress = Progress::default();
        assert_eq!(progress.look(0, 50).lag_ms, 0, "nothing was sent yet");
        progress.sent(7, 3, 100);
        progress.sent(9, 4, 150);
        assert_eq!(progress.look(0, 160).lag_ms, 60);
        progress.acknowledge(7);
        assert_eq!(progress.look(0, 170).lag_ms, 70, "9 is still owed");
        progress.acknowledge(9);
        let now = progress.look(2, 500);
        assert_eq!((now.lag_ms, now.entries, now.bundle), (0, 4, 2));
    }

    #[test]
    fn what_was_never_sent_is_not_believed() {
        let mut progress = Progress::default();
        progress.sent(7, 1, 100);
        progress.acknowledge(8);
        assert_eq!(progress.look(0, 110).acknowledged, 0);
        progress.acknowledge(7);
        assert_eq!(progress.look(0, 110).acknowledged, 7);
    }
}
