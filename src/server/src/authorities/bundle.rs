//! The own trust bundle: this server's authorities put in, tainted, taken out;
//! everybody else's left as they are. Its sequence only grows.

use std::sync::Arc;

use authority::rotation::{Phase, Slot};
use identity::{Bundle, JwtAuthorityKey, X509AuthorityCertificate};
use records::{AuditKind, AuthorityProfile, AuthorityRecord, key};
use store::{Condition, Key, Write};

use super::Authorities;
use super::rows::Rotor;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;
use crate::state::stored;

/// What is asked for beside putting every live key in.
#[derive(Clone, Copy)]
pub(super) enum Edit {
    /// Nothing.
    None,
    /// This slot's key is taken out.
    Without(Slot),
}

/// Whether a bundle holds an authority's public half.
pub(super) fn holds(bundle: &Bundle, row: &AuthorityRecord) -> bool {
    match row.profile {
        AuthorityProfile::X509 => {
            let der = row.chain.last();
            bundle
                .x509_authorities
                .iter()
                .any(|held| Some(&*held.der) == der.map(Vec::as_slice))
        }
        AuthorityProfile::Jwt => has_key(&bundle.jwt_authorities, row),
        AuthorityProfile::Access => has_key(&bundle.access_keys, row),
    }
}

fn has_key(keys: &[JwtAuthorityKey], row: &AuthorityRecord) -> bool {
    keys.iter().any(|held| *held.key_id == *row.id)
}

impl Authorities {
    /// Makes the own bundle say what the rotation says of one profile. Commits only
    /// when that changes something.
    pub(super) async fn edit_own_bundle(
        &self,
        rotor: &mut Rotor,
        edit: Edit,
    ) -> Result<(), Failure> {
        if rotor.profile == AuthorityProfile::X509 {
            let without = match edit {
                Edit::None => None,
                Edit::Without(slot) => Some(slot),
            };
            return self.edit_x509_bundle(rotor, without).await;
        }
        self.change_own_bundle(&Caller::Server, None, |bundle| {
            for key in &rotor.state.keys {
                let Some(row) = rotor.row(key.slot) else {
                    continue;
                };
                if matches!(edit, Edit::Without(slot) if slot == key.slot) {
                    take_out(bundle, row);
                } else {
                    // While a key signs, holders could replace nothing for its taint.
                    let signs = matches!(key.phase, Phase::Active { .. });
                    put_in(bundle, row, key.tainted && !signs);
                }
            }
        })
        .await
    }

    /// Adds authorities of others (a downstream server's) to the own bundle.
    ///
    /// # Errors
    /// The bundle would be too large, or it cannot be done now.
    pub(crate) async fn append_to_bundle(
        &self,
        caller: &Caller,
        x509: Vec<X509AuthorityCertificate>,
        jwt: Vec<JwtAuthorityKey>,
    ) -> Result<(), Failure> {
        let _one_at_a_time = self.0.rotors.lock().await;
        self.change_own_bundle(caller, None, |bundle| {
            for authority in x509 {
                if !bundle
                    .x509_authorities
                    .iter()
                    .any(|held| held.der == authority.der)
                {
                    bundle.x509_authorities.push(authority);
                }
            }
            for authority in jwt {
                if !bundle
                    .jwt_authorities
                    .iter()
                    .any(|held| held.key_id == authority.key_id)
                {
                    bundle.jwt_authorities.push(authority);
                }
            }
        })
        .await
    }

    /// `also` is committed with the change, and without one.
    pub(super) async fn change_own_bundle(
        &self,
        caller: &Caller,
        also: Option<(Condition, Write)>,
        change: impl FnOnce(&mut Bundle),
    ) -> Result<(), Failure> {
        let parts = &self.0.parts;
        let td = parts.state.trust_domain();
        let key: Key = key::bundle(td, td).into();
        let before = parts
            .state
            .store()
            .get(&key)
            .await
            .map_err(Failure::unavailable)?;
        let (mut bundle, condition) = match before {
            Some(value) => {
                let bundle = records::decode_bundle(&value).map_err(Failure::internal)?;
                (bundle, Condition::Equals(Arc::clone(&key), value))
            }
            None => (
                Bundle::empty(td.clone()),
                Condition::Absent(Arc::clone(&key)),
            ),
        };
        let was = bundle.clone();
        change(&mut bundle);
        bundle.refresh_hint = (parts.plan.propagation.0 != 0).then_some(parts.plan.propagation);
        if bundle == was && also.is_none() {
            return Ok(());
        }
        if bundle
            .x509_authorities
            .len()
            .max(bundle.jwt_authorities.len())
            .max(bundle.access_keys.len())
            > limits::MAX_BUNDLE_AUTHORITIES
        {
            return Err(Failure::invalid(format!(
                "the bundle would have more than {} authorities of one kind",
                limits::MAX_BUNDLE_AUTHORITIES
            )));
        }
        let (mut conditions, mut writes) = (Vec::new(), Vec::new());
        if bundle != was {
            bundle.sequence = was.sequence.saturating_add(1);
            let (_, put) = stored::put_bundle(td, &bundle).map_err(Failure::invalid)?;
            conditions.push(condition);
            writes.push(put);
        }
        if let Some((condition, write)) = also {
            conditions.push(condition);
            writes.push(write);
        }
        let detail = format!(
            "sequence {}: {} X.509 and {} JWT authorities, {} access keys",
            bundle.sequence,
            bundle.x509_authorities.len(),
            bundle.jwt_authorities.len(),
            bundle.access_keys.len()
        );
        let mut record = parts.audit.record(AuditKind::BundleChange, caller);
        record.for_whom = td.as_str();
        record.detail = &detail;
        let draft = parts.audit.draft(&record)?;
        let state = &parts.state;
        state
            .record_and_commit(caller, vec![draft], conditions, writes)
            .await?;
        Ok(())
    }
}

pub(super) fn put_in(bundle: &mut Bundle, row: &AuthorityRecord, tainted: bool) {
    match row.profile {
        AuthorityProfile::X509 => {
            // The top of the chain is what verifiers anchor to.
            let Some(der) = row.chain.last() else {
                return;
            };
            let held = bundle
                .x509_authorities
                .iter_mut()
                .find(|held| *held.der == **der);
            match held {
                Some(held) => held.tainted = tainted,
                None => bundle.x509_authorities.push(X509AuthorityCertificate {
                    der: der.as_slice().into(),
                    tainted,
                }),
            }
        }
        AuthorityProfile::Jwt => put_key(&mut bundle.jwt_authorities, row, tainted),
        AuthorityProfile::Access => put_key(&mut bundle.access_keys, row, tainted),
    }
}

fn put_key(keys: &mut Vec<JwtAuthorityKey>, row: &AuthorityRecord, tainted: bool) {
    match keys.iter_mut().find(|held| *held.key_id == *row.id) {
        Some(held) => held.tainted = tainted,
        None => keys.push(JwtAuthorityKey {
            key_id: row.id.as_str().into(),
            spki: row.spki.as_slice().into(),
            expires_at: Some(row.not_after),
            tainted,
        }),
    }
}

pub(super) fn take_out(bundle: &mut Bundle, row: &AuthorityRecord) {
    match row.profile {
        AuthorityProfile::X509 => {
            let top = row.chain.last().map(Vec::as_slice);
            bundle
                .x509_authorities
                .retain(|held| Some(&*held.der) != top);
        }
        AuthorityProfile::Jwt => bundle
            .jwt_authorities
            .retain(|held| *held.key_id != *row.id),
        AuthorityProfile::Access => bundle.access_keys.retain(|held| *held.key_id != *row.id),
    }
}
