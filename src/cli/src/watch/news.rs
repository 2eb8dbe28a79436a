//! What is news in what the server says: compares with what it said before. Pure.

use std::collections::{HashMap, HashSet};

use super::event::{Class, Event, is_behind};
use crate::wire::audit_v1::Record;
use crate::wire::fleet_v1::{Agent, WatchResponse};
use crate::wire::keys_v1::Key;

/// Certificates remembered to tell renewals from first ones; then it begins anew.
const REMEMBERED: usize = 100_000;
/// Records from before the watching began that are read, to tell renewals by.
const HISTORY: u64 = 1_000;

/// What was said so far, across reconnections.
#[derive(Default)]
pub(super) struct News {
    /// The next record wanted; 0 before the first connection.
    next_seq: u64,
    /// Records up to here are from before.
    old_up_to: u64,
    agents: HashMap<String, Agent>,
    keys: Vec<Key>,
    certified: HashSet<(String, String)>,
    /// Agents of the first look at a fleet, which names all; `None` after it.
    first_look: Option<HashSet<String>>,
}

impl News {
    /// A connection was made to a server whose newest record is `newest`: the first
    /// record to ask for.
    pub(super) fn connected(&mut self, newest: u64) -> u64 {
        self.first_look = Some(HashSet::new());
        let after = newest.saturating_add(1);
        if self.next_seq == 0 {
            self.old_up_to = newest;
            self.next_seq = after.saturating_sub(HISTORY).max(1);
        } else if self.next_seq > after {
            // Another journal: all of it is news.
            self.next_seq = 1;
        }
        self.next_seq
    }

    /// One record.
    pub(super) fn record(&mut self, record: Record) -> Event {
        self.next_seq = record.seq.saturating_add(1);
        Event::Record {
            class: self.classify(&record),
            old: record.seq <= self.old_up_to,
            record: Box::new(record),
        }
    }

    fn classify(&mut self, record: &Record) -> Class {
        if record.result == "refused" {
            return Class::Refusal;
        }
        match record.kind.as_str() {
            "entry_create" | "entry_update" | "entry_delete" => Class::Registration,
            "issue_x509" | "server_x509" => self.certificate(record),
            "issue_jwt" | "mint_x509" | "mint_jwt" | "downstream_ca" => Class::Issuance,
            "renew" => Class::Renewal,
            "ca_x509" | "ca_jwt" | "key_rotation" => Class::Rotation,
            "attest" | "node_ban" | "node_evict" | "token_create" => Class::Node,
            _ => Class::Other,
        }
    }

    /// A certificate for whom and what had one before renews it.
    fn certificate(&mut self, record: &Record) -> Class {
        if self.certified.len() >= REMEMBERED {
            self.certified.clear();
        }
        let whose = (
            record.who.clone(),
            format!("{} {}", record.entry_id, record.for_whom),
        );
        if self.certified.insert(whose) {
            Class::Issuance
        } else {
            Class::Renewal
        }
    }

    /// Some of one look at the fleet.
    pub(super) fn look(&mut self, look: WatchResponse) -> Vec<Event> {
        let mut events = Vec::new();
        for agent in look.agents {
            if let Some(named) = &mut self.first_look {
                named.insert(agent.spiffe_id.clone());
            }
            let known = self.agents.insert(agent.spiffe_id.clone(), agent.clone());
            if known.as_ref() != Some(&agent) {
                events.push(Event::Agent {
                    was: known.as_ref().map(Agent::contact),
                    is_news: known.as_ref().is_none_or(|known| is_news(known, &agent)),
                    agent,
                });
            }
        }
        for id in look.gone {
            self.forget(&id, &mut events);
        }
        if let Some(server) = look.server {
            if let Some(named) = self.first_look.take() {
                let known = self.agents.keys();
                let gone: Vec<String> = known.filter(|id| !named.contains(*id)).cloned().collect();
                for id in gone {
                    self.forget(&id, &mut events);
                }
            }
            events.push(Event::Look(server));
        }
        events
    }

    fn forget(&mut self, id: &str, events: &mut Vec<Event>) {
        if self.agents.remove(id).is_some() {
            events.push(Event::AgentGone(id.to_owned()));
        }
    }

    /// The keys, if they are not as they were. How much depends on them moves all the
    /// time and is no news.
    pub(super) fn keys(&mut self, keys: Vec<Key>) -> Option<Event> {
        let gist = |keys: &[Key]| -> Vec<_> {
            let keys = keys.iter();
            keys.map(|k| {
                (
                    k.id.clone(),
                    k.state.clone(),
                    k.tainted,
                    k.waits_for.clone(),
                )
            })
            .collect()
        };
        if gist(&self.keys) == gist(&keys) {
            return None;
        }
        self.keys.clone_from(&keys);
        Some(Event::Keys(keys))
    }
}

/// Whether a change of an agent deserves a line.
fn is_news(known: &Agent, now: &Agent) -> bool {
    let gist = |agent: &Agent| {
        (
            agent.contact,
            agent.banned,
            agent.expires_at,
            agent.entries,
            agent.bundle_sequence,
            is_behind(agent),
            agent.agent_version.clone(),
        )
    };
    gist(known) != gist(now)
}
