//! Taking back what is valid before it expires: what an administrator orders
//! ([`order`]), what it hits by the record of issuance ([`hits`]), and the signed
//! list that tells agents and relying parties ([`publish`]).
//!
//! A revocation is one commit. This server decides by it at once; the list that holds
//! it is signed right after, and pushed to every agent. While the signing key does
//! not answer the revocation stands here all the same, and the list follows.

mod hits;
mod order;
mod publish;
mod signed;

use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::audit::Audit;
use crate::authorities::Authorities;
use crate::clock::Clock;
use crate::state::State;

pub(crate) use hits::Hit;
pub(crate) use order::Order;
pub(crate) use publish::publish;
pub(crate) use signed::Signed;

/// The revocations of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Revocations(Arc<Parts>);

struct Parts {
    state: State,
    audit: Audit,
    authorities: Authorities,
    clock: Clock,
    /// One change at a time.
    writes: Mutex<()>,
    /// The newest signed list.
    signed: watch::Sender<Option<Arc<Signed>>>,
}

impl Revocations {
    pub(crate) fn new(
        state: &State,
        audit: &Audit,
        authorities: &Authorities,
        clock: &Clock,
    ) -> Self {
        Self(Arc::new(Parts {
            state: state.clone(),
            audit: audit.clone(),
            authorities: authorities.clone(),
            clock: clock.clone(),
            writes: Mutex::new(()),
            signed: watch::Sender::new(None),
        }))
    }

    /// The newest signed list; `None` until the first was signed.
    pub(crate) fn signed(&self) -> Option<Arc<Signed>> {
        self.0.signed.borrow().clone()
    }
}

#[cfg(test)]
mod tests;
