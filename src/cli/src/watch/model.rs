//! What is known after all events so far. Pure: events and the time in, a state to
//! be drawn out; everything in it is bounded.

use std::collections::{BTreeMap, VecDeque};

use super::event::{Class, Event, NodeState};
use crate::wire::{audit_v1, fleet_v1, info_v1, keys_v1};

/// Records kept to be shown.
const RECENT: usize = 200;
/// The seconds over which happenings are counted.
const WINDOW_SECONDS: usize = 60;

/// Whether the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// Not tried to the end yet.
    Connecting,
    /// It does.
    Up,
    /// It does not.
    Down {
        why: String,
        /// When it is tried again, Unix milliseconds.
        retry_at_ms: i64,
    },
}

/// The state.
pub(super) struct Model {
    pub(super) link: Link,
    pub(super) info: Option<Box<info_v1::GetResponse>>,
    pub(super) server: Option<fleet_v1::Server>,
    pub(super) agents: BTreeMap<String, fleet_v1::Agent>,
    pub(super) keys: Vec<keys_v1::Key>,
    pub(super) node: Option<NodeState>,
    /// The newest last.
    pub(super) recent: VecDeque<(Class, audit_v1::Record)>,
    rates: Rates,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            link: Link::Connecting,
            info: None,
            server: None,
            agents: BTreeMap::new(),
            keys: Vec::new(),
            node: None,
            recent: VecDeque::new(),
            rates: Rates::default(),
        }
    }

    /// Takes in one event.
    pub(super) fn apply(&mut self, event: &Event, now_ms: i64) {
        match event {
            Event::Connected(info) => {
                self.link = Link::Up;
                self.info = Some(info.clone());
            }
            Event::Disconnected { why, retry_ms } => {
                let wait = i64::try_from(*retry_ms).unwrap_or(i64::MAX);
                self.link = Link::Down {
                    why: why.clone(),
                    retry_at_ms: now_ms.saturating_add(wait),
                };
            }
            Event::Look(server) => self.server = Some(*server),
            Event::Agent { agent, .. } => {
                self.agents.insert(agent.spiffe_id.clone(), agent.clone());
            }
            Event::AgentGone(id) => {
                self.agents.remove(id);
            }
            Event::Keys(keys) => self.keys.clone_from(keys),
            Event::Record { class, record, .. } => {
                self.rates.count(*class, record.at_ms.div_euclid(1000));
                if self.recent.len() >= RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back((*class, record.as_ref().clone()));
            }
            Event::Node(node) => self.node = Some(node.clone()),
        }
    }

    /// How often something happened in the last minute.
    pub(super) fn last_minute(&self, class: Class, now_ms: i64) -> u64 {
        self.rates.last_minute(class, now_ms.div_euclid(1000))
    }
}

/// Counts for each of the last seconds.
#[derive(Default)]
struct Rates {
    /// Second and what happened in it; the newest last.
    seconds: VecDeque<(i64, Vec<(Class, u64)>)>,
}

impl Rates {
    fn count(&mut self, class: Class, second: i64) {
        let newest = self.seconds.back().map_or(i64::MIN, |last| last.0);
        // A clock that was set back counts with the newest second.
        if second > newest {
            if self.seconds.len() >= WINDOW_SECONDS {
                self.seconds.pop_front();
            }
            self.seconds.push_back((second, Vec::new()));
        }
        let Some((_, counts)) = self.seconds.back_mut() else {
            return;
        };
        match counts.iter_mut().find(|(of, _)| *of == class) {
            Some((_, count)) => *count += 1,
            None => counts.push((class, 1)),
        }
    }

    fn last_minute(&self, class: Class, now: i64) -> u64 {
        let window = i64::try_from(WINDOW_SECONDS).unwrap_or(i64::MAX);
        let young = self.seconds.iter().filter(|(at, _)| *at > now - window);
        let counts = young.flat_map(|(_, counts)| counts);
        counts
            .filter(|(of, _)| *of == class)
            .map(|(_, count)| count)
            .sum()
    }
}
