//! Scoped tokens: the active policy set, decisions and their records, mints.
//!
//! The order is that of every credential: decide, record, sign. A request is
//! decided by the policy set that is loaded; while none is, or while the active
//! one cannot be loaded, nothing is decided and nothing minted.

mod ask;
mod attested;
mod candidates;
mod explain;
mod glass;
mod mint;
mod plan;
mod policies;
mod rates;
mod record;
mod sign;
#[cfg(test)]
mod tests;
mod vouch;

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use identity::Seconds;
use pdp::Engine;
use policy::Sources;
use records::ActivationRecord;

use crate::audit::Audit;
use crate::authorities::Authorities;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::issue::FarAway;
use crate::metrics::Meters;
use crate::revocation::Revocations;
use crate::state::State;

pub(crate) use ask::{Ask, Mint};
pub(crate) use candidates::ASSUMPTIONS;
pub(crate) use explain::{Can, Explained, Question};
pub(crate) use plan::{PolicyPlan, Proposal};

use attested::Attested;
use rates::Rates;

/// Scoped tokens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    parts: Parts,
    active: ArcSwapOption<Active>,
    /// Why the active policy set is not loaded.
    fault: ArcSwapOption<String>,
    /// One load or activation at a time.
    loading: tokio::sync::Mutex<()>,
    rates: Mutex<Rates>,
    /// What was found of workloads that asked.
    attested: Mutex<Attested>,
    /// The SPIFFE ID that decides.
    authority: String,
}

/// What scoped tokens need.
pub(crate) struct Parts {
    pub(crate) state: State,
    pub(crate) authorities: Authorities,
    pub(crate) audit: Audit,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) meters: Meters,
    /// Signing with keys that are kept elsewhere, bounded with everybody's.
    pub(crate) far: FarAway,
    /// What ends tokens before they expire.
    pub(crate) revocations: Revocations,
    /// The longest life of any token.
    pub(crate) longest: Seconds,
    /// What access tokens name in `iss`.
    pub(crate) issuer: String,
}

/// The policy set that decides.
pub(crate) struct Active {
    pub(crate) engine: Engine,
    pub(crate) sources: Sources,
    pub(crate) activation: Arc<ActivationRecord>,
}

impl Tokens {
    /// Scoped tokens on top of the state; load the active policy set next.
    pub(crate) fn new(parts: Parts) -> Self {
        let id = parts.authorities.server_id();
        let authority = id.map_or_else(String::new, |id| id.as_str().to_owned());
        Self(Arc::new(Inner {
            parts,
            active: ArcSwapOption::empty(),
            fault: ArcSwapOption::empty(),
            loading: tokio::sync::Mutex::new(()),
            rates: Mutex::default(),
            attested: Mutex::default(),
            authority,
        }))
    }

    /// The policy set that decides now.
    #[must_use]
    pub(crate) fn active(&self) -> Option<Arc<Active>> {
        self.0.active.load_full()
    }

    /// Why the active policy set does not decide, when it cannot.
    #[must_use]
    pub(crate) fn fault(&self) -> Option<String> {
        self.0.fault.load_full().map(|fault| (*fault).clone())
    }

    /// What access tokens name in `iss`.
    #[must_use]
    pub(crate) fn issuer(&self) -> &str {
        &self.0.parts.issuer
    }
}
