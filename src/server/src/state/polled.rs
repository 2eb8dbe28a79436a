//! Agents that poll, as stock SPIRE agents do. They acknowledge nothing; which
//! bundle they have is inferred from the one that they were last given.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use identity::{Seconds, SpiffeId, Timestamp};

use super::State;
use super::behind::{AgentBehind, How, StreamsBehind};
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
    /// Since when it is known to lack the newest own bundle.
    behind_since: Option<Timestamp>,
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

    /// The live agents that have not taken in the newest own bundle: those that follow
    /// or did a moment ago and have not given it to their workloads, and those that poll
    /// and have not fetched it.
    pub(crate) fn agents_behind(&self) -> Vec<AgentBehind> {
        let sequence = self.own_sequence();
        let now = self.0.clock.now();
        let subscribers = &self.0.subscribers;
        let mut behind = subscribers.behind(sequence, now);
        let left = subscribers.left_behind(sequence, self.0.clock.since_boot(), now);
        behind.extend(
            left.into_iter()
                .filter(|left| self.may_call(&left.agent, now)),
        );
        let mut pollers = self.0.pollers.lock();
        let polling = pollers.iter_mut().filter_map(|(agent, poller)| {
            if poller.sequence >= sequence {
                poller.behind_since = None;
                return None;
            }
            let counts =
                poller.is_live(now) && !subscribers.contains(agent) && self.may_call(agent, now);
            counts.then(|| AgentBehind {
                agent: agent.clone(),
                how: How::Polling,
                bundle: poller.sequence,
                since: *poller.behind_since.get_or_insert(now),
                streams: StreamsBehind::default(),
            })
        });
        behind.extend(polling);
        behind
    }

    /// How many live agents have not taken in the newest own bundle.
    pub(crate) fn agents_behind_bundle(&self) -> usize {
        self.agents_behind().len()
    }

    /// The agents whose workloads have streams that are not waited for any longer.
    pub(crate) fn agents_with_streams_behind(&self) -> Vec<(SpiffeId, StreamsBehind)> {
        self.0.subscribers.with_streams_behind()
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
