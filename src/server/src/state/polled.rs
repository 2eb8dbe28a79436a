//! Agents that poll, as stock SPIRE agents do. They acknowledge nothing; which
//! bundle they have is inferred from the one that they were last given.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use identity::{Seconds, SpiffeId, Timestamp};

use super::State;
use crate::limits;

/// An agent that has not polled for so long is not waited for: it asks for the
/// bundle first when it comes back.
const LIVE: Seconds = Seconds(300);

#[derive(Clone, Copy, Default)]
struct Poller {
    /// Sequence of the own bundle it was last given.
    sequence: u64,
    /// When it last asked for its entries; never for agents that follow.
    asked_at: Option<Timestamp>,
}

/// The agents that poll.
#[derive(Default)]
pub(super) struct Pollers(Mutex<HashMap<SpiffeId, Poller>>);

impl Pollers {
    fn lock(&self) -> MutexGuard<'_, HashMap<SpiffeId, Poller>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that poll: when each last did, and the own bundle it fetched last.
    pub(super) fn live(&self, now: Timestamp) -> HashMap<SpiffeId, (Timestamp, u64)> {
        let pollers = self.lock();
        let live = pollers.iter().filter(|(_, poller)| poller.is_live(now));
        live.filter_map(|(agent, poller)| {
            Some((agent.clone(), (poller.asked_at?, poller.sequence)))
        })
        .collect()
    }

    fn note(&self, agent: &SpiffeId, now: Timestamp, change: impl FnOnce(&mut Poller)) {
        let mut pollers = self.lock();
        if let Some(poller) = pollers.get_mut(agent) {
            return change(poller);
        }
        if pollers.len() >= limits::MAX_NODES {
            pollers.retain(|_, poller| poller.is_live(now));
        }
        let mut poller = Poller::default();
        change(&mut poller);
        pollers.insert(agent.clone(), poller);
    }
}

impl Poller {
    fn is_live(&self, now: Timestamp) -> bool {
        self.asked_at.is_some_and(|at| now <= at.plus(LIVE))
    }
}

impl State {
    /// Notes that an agent asked for its entries instead of following.
    pub(crate) fn note_poll(&self, agent: &SpiffeId) {
        let now = self.0.clock.now();
        let note = |poller: &mut Poller| poller.asked_at = Some(now);
        self.0.pollers.note(agent, now, note);
    }

    /// Notes that an agent was given the own bundle of this sequence.
    pub(crate) fn note_bundle_given(&self, agent: &SpiffeId, sequence: u64) {
        let now = self.0.clock.now();
        let note = |poller: &mut Poller| poller.sequence = sequence;
        self.0.pollers.note(agent, now, note);
    }

    /// How many live agents have not taken in the newest own bundle: those that
    /// follow or did a moment ago and have not given it to their workloads, and those that poll and have
    /// not fetched it.
    pub(crate) fn agents_behind_bundle(&self) -> usize {
        let sequence = self.own_sequence();
        let now = self.0.clock.now();
        let pollers = self.0.pollers.lock();
        let behind = pollers.iter().filter(|(agent, poller)| {
            poller.is_live(now)
                && poller.sequence < sequence
                && !self.0.subscribers.contains(agent)
                && self.may_call(agent, now)
        });
        let left = self
            .0
            .subscribers
            .left_behind(sequence, self.0.clock.since_boot());
        let left = left.iter().filter(|agent| self.may_call(agent, now));
        self.0.subscribers.behind(sequence) + left.count() + behind.count()
    }

    /// How many agents have not said that they replaced what the newest own bundle
    /// distrusts. Agents that poll cannot say so, agents that are away have not.
    /// `longest` after an agent's own SVID nothing that it was given is valid.
    pub(crate) fn agents_not_replaced(&self, longest: Seconds) -> usize {
        let replaced = self.0.subscribers.replaced(self.own_sequence());
        let now = self.0.clock.now();
        let registry = self.registry();
        let nodes = registry.nodes();
        nodes
            .filter(|node| !node.banned && node.expires_at.plus(longest) > now)
            .filter(|node| !replaced.contains(&node.id))
            .count()
    }

    fn own_sequence(&self) -> u64 {
        let registry = self.registry();
        let own = registry.bundle(&self.0.trust_domain);
        own.map_or(0, |bundle| bundle.sequence)
    }

    fn may_call(&self, agent: &SpiffeId, now: Timestamp) -> bool {
        let registry = self.registry();
        let node = registry.node(agent);
        node.is_some_and(|node| !node.banned && node.expires_at > now)
    }
}
