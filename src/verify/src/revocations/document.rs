//! The list as it travels: a compact JWS whose type no token has. Read strictly: a
//! list that is understood in part might leave out what matters.

use std::collections::{BTreeMap, BTreeSet};

use identity::{
    Bundle, REVOCATION_LIST_TYPE, Revoked, SpiffeId, Timestamp, TrustDomain, TrustDomainError,
};
use serde_json::{Map, Value};

use super::{Revocations, RevokedId};
use crate::JwtFault;
use crate::jwt::{Parts, decode_object, number, verify_signature};

/// The longest list looked at, in bytes.
pub const MAX_LIST_BYTES: usize = 2 * 1024 * 1024;

/// The most serials, tokens and IDs in a list.
pub const MAX_LIST_ENTRIES: usize = 10_000;

/// Why a list is not believed. The one in hand stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationListFault {
    /// Not a compact JWS, or its signature does not verify.
    #[error("revocation list: {0}")]
    Jws(JwtFault),
    /// Not of the type of a list.
    #[error("revocation list: its typ is not {REVOCATION_LIST_TYPE:?}")]
    Type,
    /// No key of the bundle has its key id.
    #[error("revocation list: trust domain {trust_domain} has no JWT key {key_id:?}")]
    UnknownKey {
        /// The bundle's trust domain.
        trust_domain: TrustDomain,
        /// The list's `kid`.
        key_id: String,
    },
    /// The key that signed it is not to be relied on any more.
    #[error("revocation list: its key {0:?} is tainted")]
    Tainted(String),
    /// It is another trust domain's.
    #[error("revocation list: it is of another trust domain than {0}")]
    OtherTrustDomain(TrustDomain),
    /// A claim that is missing or malformed.
    #[error("revocation list: {0}")]
    Shape(&'static str),
    /// More or longer than anyone needs.
    #[error(
        "revocation list: it is too large; at most {MAX_LIST_BYTES} bytes and {MAX_LIST_ENTRIES} entries are taken"
    )]
    TooLarge,
    /// Its sequence number is not higher than that of the list in hand.
    #[error("revocation list: sequence {sequence} is not newer than {held}, which is in hand")]
    NotNewer {
        /// Its own.
        sequence: u64,
        /// That of the list in hand.
        held: u64,
    },
}

impl From<JwtFault> for RevocationListFault {
    fn from(fault: JwtFault) -> Self {
        Self::Jws(fault)
    }
}

/// Reads a list that a key of the bundle signed.
pub(super) fn read(list: &str, bundle: &Bundle) -> Result<Revocations, RevocationListFault> {
    if list.len() > MAX_LIST_BYTES {
        return Err(RevocationListFault::TooLarge);
    }
    let parts = Parts::split_bounded(list)?;
    let header = decode_object(parts.header)?;
    let (algorithm, key_id) = check_header(&header)?;
    let key = bundle
        .jwt_authorities
        .iter()
        .find(|key| *key.key_id == *key_id)
        .ok_or_else(|| RevocationListFault::UnknownKey {
            trust_domain: bundle.trust_domain.clone(),
            key_id: key_id.chars().take(64).collect(),
        })?;
    if key.tainted {
        return Err(RevocationListFault::Tainted(key.key_id.to_string()));
    }
    verify_signature(&parts, algorithm, key)?;
    claims(&decode_object(parts.claims)?, &bundle.trust_domain)
}

/// Reads a list without asking who signed it.
pub(super) fn reread(
    list: &str,
    trust_domain: &TrustDomain,
) -> Result<Revocations, RevocationListFault> {
    if list.len() > MAX_LIST_BYTES {
        return Err(RevocationListFault::TooLarge);
    }
    let parts = Parts::split_bounded(list)?;
    check_header(&decode_object(parts.header)?)?;
    claims(&decode_object(parts.claims)?, trust_domain)
}

fn check_header(header: &Map<String, Value>) -> Result<(&str, &str), RevocationListFault> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    if text("typ") != Some(REVOCATION_LIST_TYPE) {
        return Err(RevocationListFault::Type);
    }
    if header.contains_key("crit") {
        return Err(RevocationListFault::Shape(
            "crit asks for an extension no one knows",
        ));
    }
    match (text("alg"), text("kid")) {
        (Some(algorithm), Some(key_id)) => Ok((algorithm, key_id)),
        _ => Err(RevocationListFault::Shape("alg or kid is missing")),
    }
}

fn claims(
    claims: &Map<String, Value>,
    trust_domain: &TrustDomain,
) -> Result<Revocations, RevocationListFault> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    let issuer = issuer.and_then(|iss| iss.strip_prefix("spiffe://"));
    let named: Result<TrustDomain, TrustDomainError> =
        TrustDomain::parse(issuer.unwrap_or_default());
    if named.ok().as_ref() != Some(trust_domain) {
        return Err(RevocationListFault::OtherTrustDomain(trust_domain.clone()));
    }
    let sequence = claims.get("sequence").and_then(Value::as_u64);
    let time = |name: &str| claims.get(name).and_then(number);
    let (Some(sequence), Some(issued_at), Some(next_update)) =
        (sequence, time("iat"), time("next_update"))
    else {
        return Err(RevocationListFault::Shape(
            "sequence, iat or next_update is missing or no number",
        ));
    };
    let mut read = Revocations {
        trust_domain: trust_domain.clone(),
        sequence,
        issued_at,
        next_update,
        serials: BTreeSet::new(),
        jtis: BTreeSet::new(),
        ids: BTreeMap::new(),
    };
    let mut left = MAX_LIST_ENTRIES;
    for (members, kind, field) in [
        ("serials", "serial", "serial"),
        ("jtis", "jti", "jti"),
        ("ids", "id", "spiffe_id"),
    ] {
        let Some(Value::Array(items)) = claims.get(members) else {
            return Err(RevocationListFault::Shape(
                "serials, jtis or ids is missing or no array",
            ));
        };
        left = left
            .checked_sub(items.len())
            .ok_or(RevocationListFault::TooLarge)?;
        for item in items {
            let value = item.get(field).and_then(Value::as_str).unwrap_or_default();
            let what = Revoked::parse(kind, value, trust_domain).or(Err(
                RevocationListFault::Shape("an entry names nothing that can be revoked"),
            ))?;
            put(&mut read, what, item)?;
        }
    }
    Ok(read)
}

fn put(read: &mut Revocations, what: Revoked, item: &Value) -> Result<(), RevocationListFault> {
    match what {
        Revoked::Serial(serial) => {
            read.serials.insert(serial);
        }
        Revoked::Jti(jti) => {
            read.jtis.insert(jti);
        }
        Revoked::Id(id) => {
            let how = id_entry(item).ok_or(RevocationListFault::Shape(
                "an ID without issued_until, or with an until_lifted that is no boolean",
            ))?;
            strictest(&mut read.ids, id, how);
        }
    }
    Ok(())
}

fn id_entry(item: &Value) -> Option<RevokedId> {
    let until_lifted = match item.get("until_lifted") {
        None => false,
        Some(value) => value.as_bool()?,
    };
    let issued_until: Timestamp = item.get("issued_until").and_then(number)?;
    Some(RevokedId {
        issued_until,
        until_lifted,
    })
}

/// An ID that is named twice is revoked by both.
fn strictest(ids: &mut BTreeMap<SpiffeId, RevokedId>, id: SpiffeId, how: RevokedId) {
    let held = ids.entry(id).or_insert(how);
    held.until_lifted |= how.until_lifted;
    held.issued_until = held.issued_until.max(how.issued_until);
}
