//! Nodes: how they attest, renew, are known again, banned and evicted.
//!
//! Attestors state facts; only this module names agents. Whatever a node shows is
//! checked before anything is used up, and what works once (a join token) is used
//! up in the same commit that makes the node, so that of any number of tries at any
//! number of servers one succeeds.

mod admit;
mod attestors;
mod challenges;
mod decisions;
mod nodes;
mod renew;
mod retry;
mod session;
mod slots;
mod source;
mod tokens;

use std::sync::{Arc, Mutex};

use contract::Verify;
use identity::Seconds;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::issue::Issuer;
use crate::metrics::Meters;
use crate::state::State;

use challenges::Challenges;
use slots::Slots;

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
    slots: Slots,
    /// Challenges that clients have not answered yet.
    challenges: Challenges,
    /// Who used up what, for answers lost on their way.
    answered: Mutex<retry::Answered>,
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
            slots: Slots::new(terms.concurrency),
            challenges: Challenges::default(),
            answered: Mutex::default(),
        }))
    }

    /// How many challenges are open, and how many of the source that has most.
    pub(crate) fn open_challenges(&self) -> (usize, usize) {
        self.0.challenges.counts()
    }

    /// How many attestations wait for a slot.
    pub(crate) fn waiting(&self) -> usize {
        self.0.slots.waiting()
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
}

#[cfg(test)]
mod tests;
