//! Stores written before authorities had owners: one record held everybody's. At the
//! first start what this trust domain's servers have themselves stays in it, and the
//! rest moves to a record of its own, whose owner nobody knows.

use std::sync::Arc;

use identity::{Bundle, Timestamp};
use records::{AuditKind, AuthorityProfile, Owned, TrustOwner, TrustRecord, key};
use store::{Condition, Key, Write};

use super::rows::Rotor;
use super::{Parts, start};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::state::stored;

/// Moves what others brought out of an own bundle of the old layout. Nothing of it is
/// lost or shown otherwise; the space that the server's own keys need is free again.
///
/// # Errors
/// The bundle cannot be read, or the change cannot be stored.
pub(super) async fn own_bundle(parts: &Parts, x509: &Rotor) -> Result<(), Failure> {
    let td = parts.state.trust_domain();
    let key: Key = key::bundle(td, td).into();
    let value = parts.state.store().get(&key).await;
    let Some(value) = value.map_err(Failure::unavailable)? else {
        return Ok(());
    };
    let (bundle, is_own) = records::decode_own_bundle(&value)
        .map_err(|error| Failure::internal(format!("{}: {error}", key.escape_ascii())))?;
    if is_own {
        return Ok(());
    }
    let (own, others) = split(bundle, parts, x509).await?;
    let detail = format!(
        "{} X.509 and {} JWT authorities have no recorded owner",
        others.x509.len(),
        others.jwt.len()
    );
    let mut conditions = vec![Condition::Equals(key, value)];
    let mut writes = vec![stored::put_own_bundle(&own).map_err(Failure::internal)?];
    if !others.is_empty() {
        let key: Key = key::trust(td, &others.owner).into();
        let value = records::encode_trust(&others).map_err(Failure::internal)?;
        conditions.push(Condition::Absent(Arc::clone(&key)));
        writes.push(Write::Put(key, value.into()));
    }
    let mut record = parts.audit.record(AuditKind::BundleChange, &Caller::Server);
    record.for_whom = td.as_str();
    record.detail = &detail;
    let draft = parts.audit.draft(&record)?;
    let committed = parts
        .state
        .record_and_commit(&Caller::Server, vec![draft], conditions, writes);
    committed.await?;
    tracing::info!(detail, "the own bundle was moved to the layout with owners");
    Ok(())
}

/// The servers' own part, and the others'.
async fn split(
    mut bundle: Bundle,
    parts: &Parts,
    x509: &Rotor,
) -> Result<(Bundle, TrustRecord), Failure> {
    let rows = start::stored_rows(parts).await?;
    let of = |profile| rows.iter().filter(move |(row, _)| row.profile == profile);
    let is_own_root = |der: &[u8]| {
        let mut own = of(AuthorityProfile::X509);
        let known = &x509.above.known.x509;
        own.any(|(row, _)| row.chain.len() < 2 && row.chain.last().is_some_and(|own| own == der))
            || known.iter().any(|root| *root.der == *der)
    };
    let is_own_key = |id: &str| of(AuthorityProfile::Jwt).any(|(row, _)| row.id == id);
    let is_above = |id: &str| {
        let known = &x509.above.known.jwt;
        known.iter().any(|key| *key.key_id == *id)
    };
    let mut others = TrustRecord::empty(TrustOwner::Unrecorded);
    for root in std::mem::take(&mut bundle.x509_authorities) {
        if is_own_root(&root.der) {
            bundle.x509_authorities.push(root);
        } else {
            others.x509.push(unrecorded(root));
        }
    }
    for jwt in std::mem::take(&mut bundle.jwt_authorities) {
        if is_own_key(&jwt.key_id) {
            bundle.jwt_authorities.push(jwt);
        } else if !is_above(&jwt.key_id) {
            others.jwt.push(unrecorded(jwt));
        }
    }
    Ok((bundle, others))
}

const fn unrecorded<T>(authority: T) -> Owned<T> {
    Owned {
        authority,
        since: Timestamp(0),
        by: String::new(),
        why: String::new(),
    }
}
