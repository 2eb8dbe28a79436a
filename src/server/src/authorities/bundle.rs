//! The server's own part of the own trust bundle: its authorities put in, tainted,
//! taken out. What others bring has records of its own, so that nobody else can take
//! the space that the server's keys need. The sequence only grows.

use authority::rotation::{Phase, Slot};
use identity::{Bundle, JwtAuthorityKey, X509AuthorityCertificate};
use records::{AuditKind, AuthorityProfile, AuthorityRecord, key};
use store::{Condition, Key, Write};

use super::Authorities;
use super::rows::Rotor;
use crate::caller::Caller;
use crate::failure::Failure;
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
        self.change_own_bundle(&Caller::Server, Also::default(), |bundle| {
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

    /// Changes the server's own part of the own bundle. `also` is committed with the
    /// change, and without one.
    ///
    /// # Errors
    /// The own part would be too large, or it cannot be done now.
    pub(super) async fn change_own_bundle(
        &self,
        caller: &Caller,
        also: Also,
        change: impl FnOnce(&mut Bundle),
    ) -> Result<(), Failure> {
        let parts = &self.0.parts;
        let (mut bundle, condition) = self.own_row().await?;
        let was = bundle.clone();
        change(&mut bundle);
        bundle.refresh_hint = (parts.plan.propagation.0 != 0).then_some(parts.plan.propagation);
        if bundle == was && also.writes.is_empty() {
            return Ok(());
        }
        // What is shown may be ahead: what an owner brought goes with it at once.
        let td = parts.state.trust_domain();
        let shown = parts.state.registry().bundle(td).map_or(0, |b| b.sequence);
        bundle.sequence = was.sequence.max(shown).saturating_add(1);
        let put = stored::put_own_bundle(&bundle).map_err(Failure::invalid)?;
        let Also {
            mut conditions,
            mut writes,
            detail,
        } = also;
        conditions.push(condition);
        writes.push(put);
        let detail = format!(
            "sequence {}: own part of {} X.509 and {} JWT authorities, {} access keys{}{detail}",
            bundle.sequence,
            bundle.x509_authorities.len(),
            bundle.jwt_authorities.len(),
            bundle.access_keys.len(),
            if detail.is_empty() { "" } else { "; " },
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

    /// The own part as it is stored, and the condition that it still is.
    pub(super) async fn own_row(&self) -> Result<(Bundle, Condition), Failure> {
        let state = &self.0.parts.state;
        let td = state.trust_domain();
        let key: Key = key::bundle(td, td).into();
        let value = state.store().get(&key).await;
        let Some(value) = value.map_err(Failure::unavailable)? else {
            return Ok((Bundle::empty(td.clone()), Condition::Absent(key)));
        };
        let (bundle, is_own) = records::decode_own_bundle(&value).map_err(Failure::internal)?;
        if !is_own {
            return Err(Failure::internal(
                "the stored bundle was written by an older version while this one runs; restart this server",
            ));
        }
        Ok((bundle, Condition::Equals(key, value)))
    }
}

/// What is committed together with a change of the own bundle.
#[derive(Default)]
pub(super) struct Also {
    pub(super) conditions: Vec<Condition>,
    pub(super) writes: Vec<Write>,
    /// What the decision record says of it.
    pub(super) detail: String,
}

impl Also {
    pub(super) fn add(&mut self, condition: Condition, write: Write) {
        self.conditions.push(condition);
        self.writes.push(write);
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
