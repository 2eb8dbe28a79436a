//! Who must be told that something changed. Each subscriber has one set of flags,
//! not a queue: however much changes while it is busy, it is told once, and reads
//! the newest view. Nothing here grows with the number of changes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use identity::{SpiffeId, Timestamp};
use registry::Touched;

use super::behind::{AgentBehind, How, StreamsBehind};
use super::fleet::Following;
use super::marks::Marks;
use crate::failure::{Failure, Kind};
use crate::limits;

const VIEW: u8 = 1;
const BUNDLES: u8 = 2;
const POLICY: u8 = 4;
const REVOCATIONS: u8 = 8;

/// What changed since the subscriber last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dirty {
    /// The agent's entries, or its own standing (banned, evicted).
    pub view: bool,
    /// Some trust bundle.
    pub bundles: bool,
    /// The active policy set.
    pub policy: bool,
    /// The signed list of revocations.
    pub revocations: bool,
}

/// All subscribers, by agent.
#[derive(Default)]
pub(crate) struct Subscribers {
    by_agent: Mutex<HashMap<SpiffeId, Vec<Weak<Marks>>>>,
    /// Agents whose last stream ended; most are about to follow again.
    left: Mutex<HashMap<SpiffeId, Left>>,
}

struct Left {
    delivered: u64,
    /// Since when it lacks the newest own bundle, if it does.
    behind_since: Option<Timestamp>,
    /// The uptime when that was first noticed.
    noticed: Option<Duration>,
}

/// One agent's subscription; dropping it ends it.
pub(crate) struct AgentSubscription {
    marks: Arc<Marks>,
    agent: SpiffeId,
    all: Arc<Subscribers>,
}

impl AgentSubscription {
    /// Waits until something changed, and says what. A new subscription starts
    /// clean: read the view after subscribing, not before.
    pub(crate) async fn changed(&mut self) -> Dirty {
        loop {
            let flags = self.marks.flags.swap(0, Ordering::AcqRel);
            if flags != 0 {
                return Dirty {
                    view: flags & VIEW != 0,
                    bundles: flags & BUNDLES != 0,
                    policy: flags & POLICY != 0,
                    revocations: flags & REVOCATIONS != 0,
                };
            }
            self.marks.wake.notified().await;
        }
    }

    /// Notes that the agent has given the own bundle of this sequence to all of its
    /// workloads: a new key signs only once those who follow have.
    pub(crate) fn acknowledge_bundle(&self, delivered: u64) {
        self.marks.delivered.fetch_max(delivered, Ordering::AcqRel);
    }

    /// Notes which streams of workloads the agent no longer waits for.
    pub(crate) fn note_streams_behind(&self, streams: StreamsBehind) {
        self.marks.behind().streams = streams;
    }

    /// Notes that nothing the agent holds was signed by an authority that the own
    /// bundle of this sequence taints or lacks.
    pub(crate) fn acknowledge_replacement(&self, replaced: u64) {
        self.marks.replaced.fetch_max(replaced, Ordering::AcqRel);
    }

    /// Notes that the agent was sent everything up to `revision`, `entries` in all.
    pub(crate) fn note_sent(&self, revision: u64, entries: usize, now_ms: u64) {
        let entries = u64::try_from(entries).unwrap_or(u64::MAX);
        self.marks.progress().sent(revision, entries, now_ms);
    }

    /// Notes what the agent says it has applied.
    pub(crate) fn acknowledge_position(&self, revision: u64) {
        self.marks.progress().acknowledge(revision);
    }
}

impl Drop for AgentSubscription {
    fn drop(&mut self) {
        self.all.remove(&self.agent, &self.marks);
    }
}

impl Subscribers {
    /// Subscribes to what touches one agent.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        agent: &SpiffeId,
        now: Timestamp,
    ) -> Result<AgentSubscription, Failure> {
        let marks = Arc::new(Marks::default());
        marks.progress().since = now;
        let mut by_agent = self.lock();
        if by_agent.len() >= limits::MAX_SUBSCRIBERS && !by_agent.contains_key(agent) {
            return Err(Failure::new(
                Kind::Exhausted,
                "this server follows as many agents as it can; try another or come back later",
            ));
        }
        let of_agent = by_agent.entry(agent.clone()).or_default();
        if of_agent.len() >= limits::MAX_SUBSCRIPTIONS_PER_AGENT {
            return Err(Failure::new(
                Kind::Exhausted,
                "this agent follows over as many streams as it may; close one",
            ));
        }
        of_agent.push(Arc::downgrade(&marks));
        self.left().remove(agent);
        Ok(AgentSubscription {
            marks,
            agent: agent.clone(),
            all: Arc::clone(self),
        })
    }

    /// Marks the agents whose views changed.
    pub(crate) fn mark_views(&self, touched: &Touched) {
        match touched {
            Touched::All => self.mark_all(VIEW),
            Touched::Agents(agents) => {
                let by_agent = self.lock();
                for agent in agents {
                    mark_list(by_agent.get(agent), VIEW);
                }
            }
        }
    }

    /// Marks everybody's bundles.
    pub(crate) fn mark_bundles(&self) {
        self.mark_all(BUNDLES);
    }

    /// Marks everybody's policy set: another one is loaded.
    pub(crate) fn mark_policy(&self) {
        self.mark_all(POLICY);
    }

    /// Marks everybody's list of revocations.
    pub(crate) fn mark_revocations(&self) {
        self.mark_all(REVOCATIONS);
    }

    /// Marks everybody's view and bundles: the state was loaded anew.
    pub(crate) fn mark_everything(&self) {
        self.mark_all(VIEW | BUNDLES);
    }

    /// The agents that follow and have not acknowledged the own bundle of `sequence`.
    pub(super) fn behind(&self, sequence: u64, now: Timestamp) -> Vec<AgentBehind> {
        let by_agent = self.lock();
        let behind = by_agent.iter().filter_map(|(agent, list)| {
            let mut live = list.iter().filter_map(Weak::upgrade);
            live.find_map(|marks| {
                let since = marks.lacks(sequence, now)?;
                Some(AgentBehind {
                    agent: agent.clone(),
                    how: How::Following,
                    bundle: marks.delivered.load(Ordering::Acquire),
                    since,
                    streams: marks.behind().streams.clone(),
                })
            })
        });
        behind.collect()
    }

    /// The agents that follow and whose workloads have streams that are not waited for.
    pub(super) fn with_streams_behind(&self) -> Vec<(SpiffeId, StreamsBehind)> {
        let by_agent = self.lock();
        let told = by_agent.iter().filter_map(|(agent, list)| {
            let marks = list.iter().rev().find_map(Weak::upgrade)?;
            let streams = marks.behind().streams.clone();
            (streams.count > 0).then(|| (agent.clone(), streams))
        });
        told.collect()
    }

    /// The agents that left a moment ago without the own bundle of `sequence`. One that
    /// reconnects, as for each renewal of its SVID, is waited for: a key that signs
    /// meanwhile would lock it out.
    pub(super) fn left_behind(
        &self,
        sequence: u64,
        uptime: Duration,
        now: Timestamp,
    ) -> Vec<AgentBehind> {
        let mut left = self.left();
        left.retain(|_, left| {
            let noticed = *left.noticed.get_or_insert(uptime);
            uptime.saturating_sub(noticed) < limits::RECONNECT
        });
        let behind = left
            .iter_mut()
            .filter(|(_, left)| left.delivered < sequence);
        let behind = behind.map(|(agent, left)| AgentBehind {
            agent: agent.clone(),
            how: How::Reconnecting,
            bundle: left.delivered,
            since: *left.behind_since.get_or_insert(now),
            streams: StreamsBehind::default(),
        });
        behind.collect()
    }

    fn left(&self) -> std::sync::MutexGuard<'_, HashMap<SpiffeId, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agents that have replaced what the own bundle of `sequence` distrusts.
    pub(crate) fn replaced(&self, sequence: u64) -> HashSet<SpiffeId> {
        let by_agent = self.lock();
        let done = by_agent.iter().filter(|(_, list)| {
            let mut live = list.iter().filter_map(Weak::upgrade);
            live.any(|marks| marks.replaced.load(Ordering::Acquire) >= sequence)
        });
        done.map(|(agent, _)| agent.clone()).collect()
    }

    /// How far each agent that follows has come, by its newest stream.
    pub(super) fn progress(&self, now_ms: u64) -> HashMap<SpiffeId, Following> {
        let by_agent = self.lock();
        let newest = by_agent.iter().filter_map(|(agent, list)| {
            let marks = list.iter().rev().find_map(Weak::upgrade)?;
            let bundle = marks.delivered.load(Ordering::Acquire);
            let following = marks.progress().look(bundle, now_ms);
            Some((agent.clone(), following))
        });
        newest.collect()
    }

    /// Whether an agent is subscribed.
    pub(crate) fn contains(&self, agent: &SpiffeId) -> bool {
        self.lock().contains_key(agent)
    }

    /// How many agents are subscribed.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn mark_all(&self, what: u8) {
        for list in self.lock().values() {
            mark_list(Some(list), what);
        }
    }

    fn remove(&self, agent: &SpiffeId, marks: &Arc<Marks>) {
        let mut by_agent = self.lock();
        if let Some(list) = by_agent.get_mut(agent) {
            list.retain(|weak| !std::ptr::eq(weak.as_ptr(), Arc::as_ptr(marks)));
            if list.is_empty() {
                by_agent.remove(agent);
                let mut left = self.left();
                if left.len() < limits::MAX_SUBSCRIBERS {
                    let delivered = marks.delivered.load(Ordering::Acquire);
                    let gone = Left {
                        delivered,
                        behind_since: marks.behind().since,
                        noticed: None,
                    };
                    left.insert(agent.clone(), gone);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SpiffeId, Vec<Weak<Marks>>>> {
        self.by_agent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark_list(list: Option<&Vec<Weak<Marks>>>, what: u8) {
    for marks in list.into_iter().flatten().filter_map(Weak::upgrade) {
        marks.mark(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://example.org/spire/agent/x/{name}")).unwrap()
    }

    #[tokio::test]
    async fn many_changes_are_told_once_and_only_to_those_they_touch() {
        let all = Arc::new(Subscribers::default());
        let mut a = all.subscribe(&agent("a"), Timestamp(1)).unwrap();
        let mut b = all.subscribe(&agent("b"), Timestamp(1)).unwrap();
        for _ in 0..1_000 {
            all.mark_views(&Touched::Agents([agent("a")].into()));
        }
        all.mark_bundles();
        assert_eq!(
            a.changed().await,
            Dirty {
                view: true,
                bundles: true,
                policy: false,
                revocations: false,
            }
        );
        assert_eq!(
            b.changed().await,
            Dirty {
                view: false,
                bundles: true,
                policy: false,
                revocations: false,
            }
        );
        let silent = tokio::time::timeout(Duration::from_millis(5), a.changed()).await;
        assert!(silent.is_err(), "nothing changed since");
    }

    #[tokio::test]
    async fn an_agent_that_reconnects_is_waited_for() {
        let all = Arc::new(Subscribers::default());
        let first = all.subscribe(&agent("a"), Timestamp(1)).unwrap();
        first.acknowledge_bundle(3);
        drop(first);
        let at = Duration::from_secs(100);
        let left = |sequence, at| all.left_behind(sequence, at, Timestamp(5));
        assert!(left(3, at).is_empty());
        assert_eq!(left(4, at)[0].agent, agent("a"));
        assert_eq!(left(4, at + limits::RECONNECT / 2).len(), 1);
        let again = all.subscribe(&agent("a"), Timestamp(1)).unwrap();
        assert!(left(4, at).is_empty());
        let behind = all.behind(4, Timestamp(6));
        assert_eq!(behind.len(), 1, "until it says so again");
        assert_eq!(all.behind(4, Timestamp(9)), behind, "since the first look");
        drop(again);
        assert_eq!(left(4, at).len(), 1);
        assert!(left(4, at + limits::RECONNECT).is_empty());
    }

    #[tokio::test]
    async fn a_dropped_subscription_is_forgotten() {
        let all = Arc::new(Subscribers::default());
        let first = all.subscribe(&agent("a"), Timestamp(1)).unwrap();
        let second = all.subscribe(&agent("a"), Timestamp(1)).unwrap();
        assert_eq!(all.count(), 1);
        drop(first);
        assert_eq!(all.count(), 1);
        drop(second);
        assert_eq!(all.count(), 0);
    }
}
