//! Taking back what is valid before it expires: what an administrator orders
//! ([`order`]), what it hits by the record of issuance ([`hits`]), and the signed
//! lists that tell agents and relying parties ([`publish`]): one JWS of everything, and
//! one list of each X.509 authority ([`crls`]).
//!
//! A revocation is one commit. This server decides by it at once; the list that holds
//! it is signed right after, and pushed to every agent. While the signing key does
//! not answer the revocation stands here all the same, and the list follows; and no
//! list waits for another's key.

mod crls;
mod hits;
mod order;
mod publish;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::audit::Audit;
use crate::authorities::Authorities;
use crate::clock::Clock;
use crate::issue::FarAway;
use crate::limits;
use crate::state::State;

pub(crate) use hits::Hit;
pub(crate) use order::Order;
pub(crate) use publish::{Signed, publish};

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
    /// The highest number that a list may have been published with.
    spent: AtomicU64,
    /// The newest list of each X.509 authority, by its id.
    crls: std::sync::Mutex<BTreeMap<String, crls::Crl>>,
    /// For the JWS. Apart from each other and from issuance, so that a signer that
    /// keeps the threads of one waiting costs the others nothing.
    far: FarAway,
    /// For the lists of X.509 authorities.
    far_crls: FarAway,
}

impl Revocations {
    /// Revocations on top of the state; a signature is waited for at most `patience`.
    pub(crate) fn new(
        (state, audit, authorities, clock): (&State, &Audit, &Authorities, &Clock),
        patience: Duration,
    ) -> Self {
        let far = || FarAway::new(patience, limits::FAR_LISTS);
        // Whoever ran before may have signed a list of this number.
        let spent = state.registry().revocation_sequence();
        Self(Arc::new(Parts {
            state: state.clone(),
            audit: audit.clone(),
            authorities: authorities.clone(),
            clock: clock.clone(),
            writes: Mutex::new(()),
            signed: watch::Sender::new(None),
            spent: AtomicU64::new(spent),
            crls: std::sync::Mutex::default(),
            far: far(),
            far_crls: far(),
        }))
    }

    /// The newest signed list; `None` until the first was signed.
    pub(crate) fn signed(&self) -> Option<Arc<Signed>> {
        self.0.signed.borrow().clone()
    }
}

#[cfg(test)]
mod tests;
