//! This server's signing authorities: made at first start, kept in its key
//! storage, rotated by `authority::rotation`, published in the trust bundle.
//!
//! The state machine decides; this module carries out. Every arrow is its own
//! recorded commit, so a crash between any two of them is mended by the next tick.

mod admin;
mod blocking;
mod bundle;
mod drive;
mod effects;
mod ledger;
mod recount;
mod report;
mod rows;
mod start;
mod status;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use authority::{AccessAuthority, JwtAuthority, SerialPrefix, X509Authority};
use identity::{Seconds, SpiffeId, Timestamp};
use keys::{KeyStorage, KeyType};
use records::AuthorityProfile;
use tokio::sync::Notify;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::state::State;

pub(crate) use report::{Act, KeyReport, Order};
pub(crate) use status::KeyStatus;

use ledger::Ledger;
use rows::Rotor;

/// The signing authorities. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Authorities(Arc<Inner>);

pub(crate) struct Inner {
    x509: ArcSwapOption<X509Authority>,
    jwt: ArcSwapOption<JwtAuthority>,
    access: ArcSwapOption<AccessAuthority>,
    status: ArcSwap<Vec<KeyStatus>>,
    /// One step of one rotation at a time; also guards the own bundle.
    rotors: tokio::sync::Mutex<Rotors>,
    /// An administrator moved a key; whoever holds something signed by it looks.
    changed: Notify,
    ledger: Ledger,
    parts: Parts,
}

/// What authorities are made of.
pub(crate) struct Parts {
    pub(crate) keys: Arc<dyn KeyStorage>,
    pub(crate) state: State,
    pub(crate) audit: Audit,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) plan: Plan,
}

/// What the configuration says about authorities.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) server_number: u8,
    pub(crate) serials: SerialPrefix,
    pub(crate) x509_key: KeyType,
    pub(crate) x509_lifetime: Seconds,
    /// Of JWT authorities and of access keys.
    pub(crate) jwt_key: KeyType,
    pub(crate) jwt_lifetime: Seconds,
    pub(crate) jwt_issuer: Option<String>,
    /// What access tokens name in `iss`.
    pub(crate) access_issuer: String,
    /// The longest lifetime of anything signed, by profile.
    pub(crate) longest_x509: Seconds,
    pub(crate) longest_jwt: Seconds,
    pub(crate) propagation: Seconds,
}

struct Rotors {
    x509: Rotor,
    jwt: Rotor,
    access: Rotor,
}

impl Rotors {
    fn of(&mut self, profile: AuthorityProfile) -> &mut Rotor {
        match profile {
            AuthorityProfile::X509 => &mut self.x509,
            AuthorityProfile::Jwt => &mut self.jwt,
            AuthorityProfile::Access => &mut self.access,
        }
    }

    fn all(&self) -> [&Rotor; 3] {
        [&self.x509, &self.jwt, &self.access]
    }

    fn all_mut(&mut self) -> [&mut Rotor; 3] {
        [&mut self.x509, &mut self.jwt, &mut self.access]
    }
}

impl Authorities {
    /// The authority that signs X.509-SVIDs now.
    #[must_use]
    pub(crate) fn x509(&self) -> Option<Arc<X509Authority>> {
        self.0.x509.load_full()
    }

    /// The authority that signs JWT-SVIDs now.
    #[must_use]
    pub(crate) fn jwt(&self) -> Option<Arc<JwtAuthority>> {
        self.0.jwt.load_full()
    }

    /// The authority that signs access tokens now.
    #[must_use]
    pub(crate) fn access(&self) -> Option<Arc<AccessAuthority>> {
        self.0.access.load_full()
    }

    /// Every key of this server, oldest first, by profile.
    #[must_use]
    pub(crate) fn status(&self) -> Arc<Vec<KeyStatus>> {
        self.0.status.load_full()
    }

    /// Notes something that a key is about to sign.
    pub(crate) fn note_signed(&self, id: &str, not_after: Timestamp, minted: bool) {
        self.0.ledger.note(id, not_after, minted);
    }

    /// Completes when an administrator has moved a key.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// The serials' first byte of this server.
    pub(crate) fn serials(&self) -> SerialPrefix {
        self.0.parts.plan.serials
    }

    /// What this server is called in SVIDs.
    #[must_use]
    pub(crate) fn server_id(&self) -> Option<SpiffeId> {
        SpiffeId::new(self.0.parts.state.trust_domain(), "/spire/server").ok()
    }
}

impl Plan {
    fn lifetime(&self, profile: AuthorityProfile) -> Seconds {
        match profile {
            AuthorityProfile::X509 => self.x509_lifetime,
            AuthorityProfile::Jwt | AuthorityProfile::Access => self.jwt_lifetime,
        }
    }

    fn key_type(&self, profile: AuthorityProfile) -> KeyType {
        match profile {
            AuthorityProfile::X509 => self.x509_key,
            AuthorityProfile::Jwt | AuthorityProfile::Access => self.jwt_key,
        }
    }

    fn longest(&self, profile: AuthorityProfile) -> Seconds {
        match profile {
            AuthorityProfile::X509 => self.longest_x509,
            AuthorityProfile::Jwt | AuthorityProfile::Access => self.longest_jwt,
        }
    }
}

#[cfg(test)]
mod tests;
