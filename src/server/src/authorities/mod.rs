//! This server's signing authorities: made at first start, kept in its key
//! storage, rotated by `authority::rotation`, published in the trust bundle.
//!
//! The state machine decides; this module carries out. Every arrow is its own
//! recorded commit, so a crash between any two of them is mended by the next tick.

mod above;
mod above_rows;
mod admin;
mod alarm;
mod blocking;
mod bundle;
mod drive;
mod effects;
mod issued;
mod kids;
mod ledger;
mod lists;
mod migrate;
mod owned;
mod owners;
mod recount;
mod report;
mod rows;
mod start;
mod status;
mod upstream_roots;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use authority::{AccessAuthority, JwtAuthority, SerialPrefix, X509Authority};
use identity::{Seconds, SpiffeId, Timestamp};
use keys::{KeyStorage, KeyType};
use records::AuthorityProfile;
use tokio::sync::Notify;
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::UpstreamSettings;
use crate::entropy::Entropy;
use crate::state::State;
use crate::upstream::Upstream;

pub(crate) use alarm::UpstreamState;
pub(crate) use issued::{Shown, key_detail};
pub(crate) use owners::{Listed, Owner};
pub(crate) use report::{Act, KeyReport, Order, Plan as ActPlan};
pub(crate) use status::KeyStatus;

use alarm::Alarm;
use issued::Issued;
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
    /// The X.509 keys that are in the bundle.
    known: ArcSwap<Vec<lists::Known>>,
    /// One step of one rotation at a time; also guards the own bundle.
    rotors: tokio::sync::Mutex<Rotors>,
    /// An administrator moved a key; whoever holds something signed by it looks.
    changed: Notify,
    ledger: Ledger,
    issued: Issued,
    /// The authority above, when there is one, and how it is.
    upstream: Option<Upstream>,
    alarm: Alarm,
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
    /// The longest lifetime of an SVID, by profile.
    pub(crate) longest_x509: Seconds,
    pub(crate) longest_jwt: Seconds,
    /// The authority above.
    pub(crate) upstream: Option<UpstreamSettings>,
    /// Levels of servers below this one.
    pub(crate) downstream_levels: u8,
    /// The longest lifetime of an authority of a downstream server.
    pub(crate) longest_downstream: Seconds,
    pub(crate) propagation: Seconds,
    pub(crate) patience: Seconds,
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

    /// Whether a key that is no longer to be relied on still signs.
    #[must_use]
    pub(crate) fn tainted_key_signs(&self) -> bool {
        let status = self.status();
        status
            .iter()
            .any(|key| key.tainted && key.state == "active")
    }

    /// The kind of the authority above and how it is, when there is one.
    #[must_use]
    pub(crate) fn upstream(&self) -> Option<(&'static str, UpstreamState)> {
        let upstream = self.0.upstream.as_ref()?;
        Some((upstream.kind(), self.0.alarm.state()))
    }

    /// The id of this server's X.509 key that signed a certificate, if one did: the
    /// signature is checked, for a downstream server could claim any name.
    pub(crate) fn signer_of(&self, leaf: &[u8]) -> Option<Box<str>> {
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let signed_by = |spki: &[u8]| {
            let spki = SubjectPublicKeyInfo::from_der(spki).ok();
            spki.is_some_and(|(_, spki)| certificate.verify_signature(Some(&spki)).is_ok())
        };
        // A key that has just begun to sign may not be in the status yet.
        if let Some(active) = self.x509()
            && signed_by(active.public_key().spki_der())
        {
            return Some(active.id().into());
        }
        let status = self.status();
        let mut keys = status
            .iter()
            .filter(|key| key.profile == AuthorityProfile::X509);
        let found = keys.find(|key| signed_by(&key.spki));
        found.map(|key| key.id.as_str().into())
    }

    /// Whether an X.509 key of this server is still in use or in the bundle.
    pub(crate) fn is_live(&self, id: &str) -> bool {
        self.x509_status(id).is_some() || self.x509().is_some_and(|active| active.id() == id)
    }

    /// Whether what an X.509 key of this server signed may give its holder a role: the
    /// key is live, and neither it nor the root above it is tainted.
    pub(crate) fn is_relied_on(&self, id: &str) -> bool {
        match self.x509_status(id) {
            Some(key) => key.is_relied_on,
            // It has just begun to sign.
            None => self.x509().is_some_and(|active| active.id() == id),
        }
    }

    fn x509_status(&self, id: &str) -> Option<KeyStatus> {
        let status = self.status();
        let mut keys = status.iter();
        let found = keys.find(|key| key.profile == AuthorityProfile::X509 && key.id == id);
        found.cloned()
    }

    /// Notes something that a key is about to sign.
    pub(crate) fn note_signed(&self, id: &str, not_after: Timestamp, minted: bool) {
        self.0.ledger.note(id, not_after, minted);
    }

    /// Completes when an administrator has moved a key.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// How long verifiers may keep the published keys: a new key signs only after
    /// it has been published that long.
    #[must_use]
    pub(crate) fn key_set_lifetime(&self) -> Seconds {
        let plan = &self.0.parts.plan;
        let profiles = [AuthorityProfile::Jwt, AuthorityProfile::Access];
        let waits = profiles.map(|profile| {
            let lifetime = plan.lifetime(profile);
            authority::rotation::Policy::for_lifetime(lifetime, plan.propagation)
                .publication_interval
        });
        waits.into_iter().min().unwrap_or_default()
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

    /// The longest lifetime of anything signed, authorities below this one included.
    fn longest_signed(&self, profile: AuthorityProfile) -> Seconds {
        match profile {
            AuthorityProfile::X509 => self.longest_x509.max(self.longest_downstream),
            AuthorityProfile::Jwt | AuthorityProfile::Access => self.longest_jwt,
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
#[cfg(test)]
mod unknown_tests;
#[cfg(test)]
mod upstream_tests;
