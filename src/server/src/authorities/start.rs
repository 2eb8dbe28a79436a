//! Start: rows and keys are read back, and the rotation is ticked once, which makes
//! the first authorities at a first start and new ones after too long a stop.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use authority::rotation::Policy;
use identity::Seconds;
use records::{AuthorityProfile, AuthorityRecord, AuthorityState, key};
use store::Value;
use tokio::sync::Notify;

use super::alarm::Alarm;
use super::issued::Issued;
use super::ledger::Ledger;
use super::rows::Rotor;
use super::{Authorities, Inner, Parts, Plan, Rotors, above_rows, blocking, migrate};
use crate::failure::Failure;
use crate::upstream::{self, Upstream};

impl Authorities {
    /// Reads this server's authorities back and brings the rotation up to date.
    ///
    /// # Errors
    /// A row or key cannot be read, the active key is gone, or the first authorities
    /// could not be made.
    pub(crate) async fn start(parts: Parts) -> Result<Self, Failure> {
        let rotor = |profile| Rotor::new(profile, policy(&parts.plan, profile));
        let mut rotors = Rotors {
            x509: rotor(AuthorityProfile::X509),
            jwt: rotor(AuthorityProfile::Jwt),
            access: rotor(AuthorityProfile::Access),
        };
        restore(&parts, &mut rotors).await?;
        migrate::own_bundle(&parts, &rotors.x509).await?;
        for rotor in rotors.all_mut() {
            rotor.settle();
            load_keys(&parts, rotor).await?;
        }
        let authorities = Self(Arc::new(Inner {
            x509: ArcSwapOption::empty(),
            jwt: ArcSwapOption::empty(),
            access: ArcSwapOption::empty(),
            status: ArcSwap::default(),
            known: ArcSwap::default(),
            rotors: tokio::sync::Mutex::new(rotors),
            changed: Notify::new(),
            ledger: Ledger::default(),
            issued: Issued::default(),
            upstream: above(&parts),
            alarm: Alarm::default(),
            parts,
        }));
        authorities.recount();
        let ticked = authorities.tick().await;
        let may_sign = authorities.x509().is_some() && authorities.jwt().is_some();
        match ticked {
            // The next tick tries again; what can be issued is.
            Err(failure) if may_sign && authorities.0.upstream.is_some() => {
                tracing::error!(%failure, "key rotation could not go on at start");
            }
            ticked => ticked?,
        }
        Ok(authorities)
    }
}

/// The authority above, when the configuration names one.
fn above(parts: &Parts) -> Option<Upstream> {
    let settings = parts.plan.upstream.as_ref()?;
    let given = upstream::Parts {
        trust_domain: parts.state.trust_domain().clone(),
        audit: parts.audit.clone(),
        clock: parts.clock.clone(),
        entropy: parts.entropy.clone(),
        serials: parts.plan.serials,
        levels: u32::from(parts.plan.downstream_levels),
    };
    Some(Upstream::of(settings, given))
}

fn policy(plan: &Plan, profile: AuthorityProfile) -> Policy {
    let lifetime: Seconds = plan.lifetime(profile);
    Policy::for_lifetime(lifetime, plan.propagation).with_patience(plan.patience, lifetime)
}

/// Every server's signing keys, as stored.
pub(super) async fn stored_rows(parts: &Parts) -> Result<Vec<(AuthorityRecord, Value)>, Failure> {
    let prefix = key::authorities(parts.state.trust_domain());
    let loaded = parts.state.store().load(&prefix).await;
    let records = loaded.map_err(Failure::unavailable)?.records.into_iter();
    let rows = records.map(|(key, value)| {
        // A signing key's row that cannot be read stops the start: guessing is worse.
        let row = records::decode_authority(&value)
            .map_err(|error| Failure::internal(format!("{}: {error}", key.escape_ascii())))?;
        Ok((row, value))
    });
    rows.collect()
}

async fn restore(parts: &Parts, rotors: &mut Rotors) -> Result<(), Failure> {
    let server = parts.plan.server_number.to_string();
    for (row, value) in stored_rows(parts).await? {
        if row.server == server {
            rotors
                .of(row.profile)
                .restore(row, value)
                .map_err(Failure::internal)?;
        }
    }
    above_rows::restore(parts, &mut rotors.x509).await
}

pub(super) async fn load_keys(parts: &Parts, rotor: &mut Rotor) -> Result<(), Failure> {
    for key in &rotor.state.keys {
        let Some(row) = rotor.row(key.slot).cloned() else {
            continue;
        };
        let keys = Arc::clone(&parts.keys);
        let id = row.key_id.clone();
        let loaded = blocking::run("find a key", move || keys.load(&id)).await?;
        match loaded {
            Some(signer) if signer.public_key().spki_der() == row.spki => {
                rotor.signers.insert(key.slot, signer);
            }
            Some(_) => {
                return Err(Failure::internal(format!(
                    "key {} is not the one that was published; restore the key storage from a backup",
                    row.key_id
                )));
            }
            // A retired key signs no more; a removed one is a tombstone.
            None if matches!(row.state, AuthorityState::Retired | AuthorityState::Removed) => {}
            None => {
                return Err(Failure::internal(format!(
                    "key {} is not in the key storage; restore the key storage from a backup",
                    row.key_id
                )));
            }
        }
    }
    Ok(())
}
