//! When each agent was last heard from, from where, and what its machine calls itself:
//! so that people can tell nodes apart. In memory only; a new server has heard nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use identity::{SpiffeId, Timestamp};

use super::State;
use crate::limits;

/// The last contact with an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// When.
    pub(crate) at: Timestamp,
    /// From where; `None` where there is no network, as in tests.
    pub(crate) address: Option<IpAddr>,
    /// What the machine calls itself, by the agent's word; empty when it never said.
    pub(crate) host: Arc<str>,
}

/// The last contact with every agent.
#[derive(Default)]
pub(super) struct Contacts(Mutex<HashMap<SpiffeId, Heard>>);

impl Contacts {
    fn lock(&self) -> MutexGuard<'_, HashMap<SpiffeId, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(super) fn all(&self) -> HashMap<SpiffeId, Heard> {
        self.lock().clone()
    }

    fn note(&self, agent: &SpiffeId, heard: Heard) {
        let mut contacts = self.lock();
        if let Some(known) = contacts.get_mut(agent) {
            known.at = heard.at;
            known.address = heard.address.or(known.address);
            if !heard.host.is_empty() {
                known.host = heard.host;
            }
            return;
        }
        if contacts.len() < limits::MAX_NODES {
            contacts.insert(agent.clone(), heard);
        }
    }
}

impl State {
    /// Notes that an agent was heard from. What it calls its machine is its own word,
    /// which nothing is decided by.
    pub(crate) fn note_heard(&self, agent: &SpiffeId, address: Option<IpAddr>, host: &str) {
        let heard = Heard {
            at: self.0.clock.now(),
            address,
            host: host_name(host).into(),
        };
        self.0.contacts.note(agent, heard);
    }

    /// Forgets when an evicted agent was heard from.
    pub(super) fn forget_heard(&self, agent: &SpiffeId) {
        self.0.contacts.lock().remove(agent);
    }
}

/// A name that a machine may have, or nothing: it is shown to people.
fn host_name(text: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if text.len() <= limits::MAX_HOST_NAME_BYTES && text.bytes().all(plain) {
        text
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_left_out() {
        assert_eq!(host_name("node-1.example.org"), "node-1.example.org");
        for bad in ["a b", "\u{1b}[2J", "ä", &"a".repeat(65)] {
            assert_eq!(host_name(bad), "", "{bad:?}");
        }
    }
}
