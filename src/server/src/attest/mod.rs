//! Nodes: how they attest, renew, are known again, banned and evicted.
//!
//! Attestors state facts; only this module names agents. Whatever a node shows is
//! checked before anything is used up, and what works once (a join token) is used
//! up in the same commit that makes the node, so that of any number of tries at any
//! number of servers one succeeds.

mod admit;
mod attestors;
mod nodes;
mod renew;
mod retry;
mod session;
mod tokens;

use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use contract::Verify;
use identity::{Node, Seconds, SpiffeId};
use records::key;
use store::{Condition, Key, Value};
use tokio::sync::Semaphore;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::issue::Issuer;
use crate::metrics::Meters;
use crate::state::State;

pub(crate) use admit::AgentDenied;
pub(crate) use attestors::all as attestors;
pub(crate) use renew::MUST_REATTEST;
#[cfg(test)]
pub(crate) use session::Attested;
pub(crate) use session::{Session, Step};
pub(crate) use tokens::TokenOrder;

/// The type of the selector by which an alias entry names one agent.
pub(crate) const AGENT_SELECTOR: &str = "spiffe_id";

/// Node attestation and everything about attested nodes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Attestation(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) state: State,
    pub(crate) issuer: Issuer,
    pub(crate) audit: Audit,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) meters: Meters,
    pub(crate) terms: Terms,
    pub(crate) attestors: Vec<Box<dyn Verify>>,
    pub(crate) slots: Arc<Semaphore>,
    /// One-time things that some attestation here is about to use up.
    pub(crate) claims: Mutex<HashSet<[u8; 32]>>,
    /// Who used up what, for answers lost on their way.
    answered: Mutex<retry::Answered>,
    /// How many wait for a slot.
    pub(crate) waiting: AtomicUsize,
}

/// Lifetimes and bounds, from the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) agent_ttl: Seconds,
    pub(crate) token_ttl: Seconds,
    pub(crate) max_token_ttl: Seconds,
    pub(crate) concurrency: usize,
}

impl Attestation {
    pub(crate) fn new(
        state: State,
        issuer: Issuer,
        audit: Audit,
        (clock, entropy): (Clock, Entropy),
        meters: Meters,
        terms: Terms,
        attestors: Vec<Box<dyn Verify>>,
    ) -> Self {
        Self(Arc::new(Parts {
            state,
            issuer,
            audit,
            clock,
            entropy,
            meters,
            terms,
            attestors,
            slots: Arc::new(Semaphore::new(terms.concurrency)),
            claims: Mutex::default(),
            answered: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// The names of the attestors this server verifies.
    #[must_use]
    pub(crate) fn attestors(&self) -> Vec<&'static str> {
        self.0
            .attestors
            .iter()
            .map(|verifier| verifier.kind())
            .collect()
    }

    /// The node as the store has it now, with the condition that it stays so until
    /// the commit.
    async fn stored_node(&self, id: &SpiffeId) -> Result<Option<(Node, Condition)>, Failure> {
        let key: Key = key::node(self.0.state.trust_domain(), id).into();
        let value: Option<Value> = self
            .0
            .state
            .store()
            .get(&key)
            .await
            .map_err(Failure::unavailable)?;
        let Some(value) = value else {
            return Ok(None);
        };
        let node = records::decode_node(&value).map_err(Failure::internal)?;
        Ok(Some((node, Condition::Equals(key, value))))
    }
}

/// Holds a one-time thing for one attestation; lets go when dropped.
struct Claim {
    parts: Arc<Parts>,
    key: [u8; 32],
}

impl Claim {
    /// `None` when another attestation here holds it.
    fn take(parts: &Arc<Parts>, key: [u8; 32]) -> Option<Self> {
        let mut claims = parts.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.insert(key).then(|| Self {
            parts: Arc::clone(parts),
            key,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self
            .parts
            .claims
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        claims.remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
