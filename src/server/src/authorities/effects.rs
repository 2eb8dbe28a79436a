//! Carrying out what the rotation asks for. Each effect is harmless when repeated.

use std::sync::Arc;

use authority::rotation::{Effect, Event, Phase, Slot, TAINT_PATIENCE, is_out_of_patience};
use authority::{AccessAuthority, AuthorityTerms, BACKDATE, JwtAuthority, Serial, X509Authority};
use identity::{Seconds, Timestamp};
use keys::{KeyStorage, KeyType, Signer};
use records::{AuditKind, AuthorityProfile, AuthorityRecord, AuthorityState};

use super::bundle::Edit;
use super::rows::{Rotor, key_id};
use super::{Authorities, blocking};
use crate::caller::Caller;
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::state::AgentBehind;

/// The most agents that one record names; their full list is in the keys' status.
const NAMED_AGENTS: usize = 4;

/// What was under way when a key was retired may still be signed a little later.
const IN_FLIGHT: Seconds = Seconds(60);

impl Authorities {
    pub(super) async fn carry_out(
        &self,
        rotor: &mut Rotor,
        effect: Effect,
    ) -> Result<Option<Event>, Failure> {
        match effect {
            Effect::Create { slot } => self.create(rotor, slot).await,
            Effect::Publish { slot } => {
                if rotor.profile == AuthorityProfile::Jwt
                    && let Some(row) = rotor.row(slot)
                    && !self.published_above(row).await
                {
                    return Ok(None);
                }
                self.edit_own_bundle(rotor, Edit::None).await?;
                Ok(Some(Event::Published { slot }))
            }
            Effect::AwaitAcknowledgement { slot } => {
                let uptime = self.0.parts.clock.since_boot();
                rotor.public_since.entry(slot).or_insert(uptime);
                self.acknowledged(rotor, slot).await
            }
            Effect::Activate { slot } => {
                self.activate_signer(rotor, slot)?;
                Ok(None)
            }
            Effect::Retire { slot } => Ok(self.drained(rotor, slot)),
            Effect::Taint { .. } => {
                self.edit_own_bundle(rotor, Edit::None).await?;
                Ok(None)
            }
            Effect::Remove { slot } => {
                self.edit_own_bundle(rotor, Edit::Without(slot)).await?;
                self.forget_key(rotor, slot).await?;
                Ok(Some(Event::Removed { slot }))
            }
            // Looked at by whoever sent the event.
            Effect::Refuse { .. } => Ok(None),
        }
    }

    /// Makes a key, or finds the one made before a crash, and what certifies it.
    /// `None`: not now, because the authority above does not sign now.
    async fn create(&self, rotor: &mut Rotor, slot: Slot) -> Result<Option<Event>, Failure> {
        let parts = &self.0.parts;
        let profile = rotor.profile;
        let id = key_id(profile, parts.plan.server_number, slot);
        let signer = make_key(
            &parts.keys,
            &id,
            parts.plan.key_type(profile),
            &parts.entropy,
        )
        .await?;
        let now = parts.clock.now();
        let lifetime = parts.plan.lifetime(profile);
        let mut row = AuthorityRecord {
            profile,
            id: String::new(),
            state: AuthorityState::Prepared,
            key_id: id,
            chain: Vec::new(),
            spki: signer.public_key().spki_der().to_vec(),
            server: parts.plan.server_number.to_string(),
            not_before: now,
            not_after: now.plus(lifetime),
            since: now,
            last_expiry: now.plus(lifetime),
            tainted: false,
        };
        match profile {
            AuthorityProfile::X509 if self.0.upstream.is_some() => {
                let Some(granted) = self.ask_above(rotor, &signer).await? else {
                    return Ok(None);
                };
                let chain = granted.chain.iter().chain([&granted.anchor]);
                row.chain = chain.map(|der| der.to_vec()).collect();
                row.id = granted.id;
                row.not_before = granted.not_before;
                row.not_after = granted.not_after;
            }
            AuthorityProfile::X509 => {
                let terms = AuthorityTerms {
                    serial: Serial::new(parts.plan.serials, parts.entropy.bytes()?),
                    now,
                    lifetime,
                    backdate: BACKDATE,
                };
                let td = parts.state.trust_domain().clone();
                let key = Arc::clone(&signer);
                let sign = move || X509Authority::create_self_signed(&td, key, &terms);
                let made = blocking::run("sign a new authority's certificate", sign).await?;
                row.id = made.id().to_owned();
                row.chain = vec![made.certificate_der().to_vec()];
                row.not_before = made.not_before();
                row.not_after = made.not_after();
            }
            AuthorityProfile::Jwt | AuthorityProfile::Access => {
                row.id = hex::encode(parts.entropy.bytes::<16>()?)
            }
        }
        let event = Event::Created {
            slot,
            id: row.id.as_str().into(),
            not_before: row.not_before,
            not_after: row.not_after,
        };
        rotor.signers.insert(slot, signer);
        rotor.fresh.insert(slot, row);
        Ok(Some(event))
    }

    /// Whether every agent that follows has given the bundle with the key to its
    /// workloads. The rest is not waited for beyond the rotation's patience: one agent
    /// that hangs must not keep a key from being replaced.
    async fn acknowledged(&self, rotor: &Rotor, slot: Slot) -> Result<Option<Event>, Failure> {
        let state = &self.0.parts.state;
        let bundle = state.registry().bundle(state.trust_domain()).cloned();
        let Some(row) = rotor.row(slot) else {
            return Ok(None);
        };
        if !bundle.is_some_and(|bundle| super::bundle::holds(&bundle, row)) {
            return Ok(None);
        }
        let now = self.0.parts.clock.now();
        if self.is_too_soon(rotor, slot, now) {
            return Ok(None);
        }
        if rotor.is_relied_on(slot) {
            return Ok(Some(Event::Acknowledged { slot }));
        }
        let behind = state.agents_behind();
        if behind.is_empty() {
            return Ok(Some(Event::Acknowledged { slot }));
        }
        let Some(key) = rotor.state.key(slot) else {
            return Ok(None);
        };
        let steady = rotor.steady(key, now, self.0.parts.clock.since_boot());
        if !is_out_of_patience(&rotor.state, key, steady, now, &rotor.policy) {
            return Ok(None);
        }
        self.record_impatience(row, &behind).await?;
        Ok(Some(Event::Acknowledged { slot }))
    }

    /// Whether verifiers may not have fetched the bundle yet, whatever the wall clock
    /// says. Without a key that signs, waiting would protect nobody.
    fn is_too_soon(&self, rotor: &Rotor, slot: Slot, now: Timestamp) -> bool {
        let active = rotor.state.active().filter(|key| now < key.not_after);
        let (Some(active), Some(key)) = (active, rotor.state.key(slot)) else {
            return false;
        };
        let Phase::Published { at, .. } = key.phase else {
            return false;
        };
        let steady = rotor.steady(key, now, self.0.parts.clock.since_boot());
        let interval = rotor.policy.publication_interval;
        // What a leaked key signs is worse than what a verifier does not know yet.
        let interval = match active.tainted {
            true => interval.min(TAINT_PATIENCE),
            false => interval,
        };
        steady < at.plus(interval)
    }

    /// That some agents are not waited for is on record before the key signs.
    async fn record_impatience(
        &self,
        row: &AuthorityRecord,
        behind: &[AgentBehind],
    ) -> Result<(), Failure> {
        let who = named(behind);
        tracing::warn!(
            behind = behind.len(),
            who,
            authority = row.id,
            "agents that have not taken in the bundle of a new signing key are not waited for any longer"
        );
        let audit = &self.0.parts.audit;
        let detail = format!("{} agents are not waited for: {who}", behind.len());
        let mut record = audit.record(AuditKind::KeyRotation, &Caller::Server);
        record.authority_id = &row.id;
        record.detail = &detail;
        let draft = audit.draft(&record)?;
        audit.append(vec![draft]).await.map(|_| ())
    }

    /// Signs with this key from now on.
    pub(super) fn activate_signer(&self, rotor: &Rotor, slot: Slot) -> Result<(), Failure> {
        let (Some(row), Some(signer)) = (rotor.row(slot), rotor.signers.get(&slot)) else {
            return Err(Failure::internal("the active signing key is not loaded"));
        };
        match rotor.profile {
            AuthorityProfile::X509 => self.activate_x509(row, signer),
            AuthorityProfile::Jwt => self.activate_jwt(row, signer),
            AuthorityProfile::Access => self.activate_access(row, signer),
        }
    }

    fn activate_x509(
        &self,
        row: &AuthorityRecord,
        signer: &Arc<dyn Signer>,
    ) -> Result<(), Failure> {
        if self.x509().is_some_and(|active| active.id() == row.id) {
            return Ok(());
        }
        let Some((certificate, above)) = row.chain.split_first() else {
            return Err(Failure::internal(
                "the active X.509 authority has no certificate",
            ));
        };
        // The root is published and does not travel; it ends what is below it all the same.
        let above = above.split_last().map_or(&[][..], |(_root, above)| above);
        let above: Vec<&[u8]> = above.iter().map(Vec::as_slice).collect();
        let now = self.0.parts.clock.now();
        match X509Authority::load(certificate, &above, Arc::clone(signer), now) {
            Ok(authority) => {
                let authority = authority.ending_by(row.not_after);
                self.0.x509.store(Some(Arc::new(authority)));
            }
            Err(error) => {
                // An expired authority after a long stop: its successor is on its way.
                self.0.x509.store(None);
                tracing::error!(authority = row.id, %error, "X.509 authority cannot sign");
            }
        }
        Ok(())
    }

    fn activate_jwt(&self, row: &AuthorityRecord, signer: &Arc<dyn Signer>) -> Result<(), Failure> {
        if self
            .jwt()
            .is_some_and(|active| **active.key_id() == *row.id)
        {
            return Ok(());
        }
        let authority = JwtAuthority::new(&row.id, Arc::clone(signer), row.not_after)
            .map_err(Failure::internal)?;
        let authority = match &self.0.parts.plan.jwt_issuer {
            Some(url) => authority.with_issuer(url),
            None => authority,
        };
        self.0.jwt.store(Some(Arc::new(authority)));
        Ok(())
    }

    fn activate_access(
        &self,
        row: &AuthorityRecord,
        signer: &Arc<dyn Signer>,
    ) -> Result<(), Failure> {
        let active = self.access();
        if active.is_some_and(|active| **active.key_id() == *row.id) {
            return Ok(());
        }
        let issuer = &self.0.parts.plan.access_issuer;
        let made = AccessAuthority::new(&row.id, Arc::clone(signer), issuer, row.not_after);
        let authority = made.map_err(Failure::internal)?;
        self.0.access.store(Some(Arc::new(authority)));
        Ok(())
    }

    /// When the last thing a retired key signed expires, if better than was known.
    fn drained(&self, rotor: &Rotor, slot: Slot) -> Option<Event> {
        let key = rotor.state.key(slot)?;
        let Phase::Retired {
            at, last_expiry, ..
        } = key.phase
        else {
            return None;
        };
        let now = self.0.parts.clock.now();
        let signed = self.0.ledger.outstanding(&key.id, now);
        let latest: Timestamp = if signed.counted && now > at.plus(IN_FLIGHT) {
            signed.last_expiry.unwrap_or(at)
        } else {
            at.plus(self.0.parts.plan.longest_signed(rotor.profile))
                .plus(IN_FLIGHT)
        };
        let latest = latest.min(key.not_after);
        (latest < last_expiry).then_some(Event::Drained {
            slot,
            last_expiry: latest,
        })
    }

    async fn forget_key(&self, rotor: &mut Rotor, slot: Slot) -> Result<(), Failure> {
        rotor.signers.remove(&slot);
        rotor.public_since.remove(&slot);
        if let Some(key) = rotor.state.key(slot) {
            self.0.ledger.forget(&key.id);
        }
        let keys = Arc::clone(&self.0.parts.keys);
        let id = key_id(rotor.profile, self.0.parts.plan.server_number, slot);
        blocking::run("remove a key", move || keys.remove(&id)).await
    }
}

/// Some of the agents that are behind, by name.
fn named(behind: &[AgentBehind]) -> String {
    let first = behind.iter().take(NAMED_AGENTS);
    let mut names: Vec<&str> = first.map(|agent| agent.agent.as_str()).collect();
    if behind.len() > NAMED_AGENTS {
        names.push("and others");
    }
    names.join(", ")
}

/// Makes or finds a key on a thread that may block: RSA takes seconds.
async fn make_key(
    keys: &Arc<dyn KeyStorage>,
    id: &str,
    key_type: KeyType,
    entropy: &Entropy,
) -> Result<Arc<dyn Signer>, Failure> {
    let (keys, id, entropy) = (Arc::clone(keys), id.to_owned(), entropy.clone());
    let make = move || match keys.load(&id)? {
        Some(signer) => Ok(signer),
        None => keys.create(&id, key_type, entropy.source()),
    };
    blocking::run("make a key", make).await
}
