//! What others may bring into the own bundle: whose key id is whose, and how much of
//! it there may be. Decided on what is stored, inside the lock of the rotations.

use identity::{JwtAuthorityKey, X509AuthorityCertificate};
use records::{TrustOwner, TrustRecord};

use crate::failure::{Failure, Kind};
use crate::limits;

/// Who has a key id already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody.
    Nobody,
    /// The server itself, for JWT-SVIDs or for access tokens.
    Server,
    /// The authority above, or another owner, for the same key.
    SameKey,
    /// The authority above, or another owner, for another key; or another downstream
    /// server.
    Other,
}

/// Who else than `mine` has the key id in one of the other owners' records. A server
/// below may publish a key again for another entry of its own SPIFFE ID; one that
/// belongs to another server it may not.
pub(super) fn held_by_others<'a>(
    records: impl Iterator<Item = &'a TrustRecord>,
    mine: &TrustRecord,
    key: &JwtAuthorityKey,
) -> Holder {
    let mut found = Holder::Nobody;
    for record in records.filter(|record| record.owner != mine.owner) {
        let mut keys = record.jwt.iter().map(|owned| &owned.authority);
        let Some(held) = keys.find(|held| held.key_id == key.key_id) else {
            continue;
        };
        let both_below = record.spiffe_id.is_some() && mine.spiffe_id.is_some();
        let other_server = both_below && record.spiffe_id != mine.spiffe_id;
        if held.spki != key.spki || other_server {
            return Holder::Other;
        }
        found = Holder::SameKey;
    }
    found
}

/// The refusal of a key id that somebody else has.
pub(super) fn taken() -> Failure {
    Failure::new(
        Kind::Exists,
        "key_id: another key of the trust domain has it; choose another",
    )
}

/// How much servers below may publish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    /// Keys of one entry.
    pub(super) keys_of_one: usize,
    /// Keys of all entries.
    pub(super) keys_of_all: usize,
}

impl Quota {
    /// Where keys stay here, and where they are published above as well.
    pub(super) const fn new(is_forwarded: bool) -> Self {
        if is_forwarded {
            Self {
                keys_of_one: limits::MAX_FORWARDED_KEYS_OF_ONE,
                keys_of_all: limits::MAX_FORWARDED_KEYS,
            }
        } else {
            Self {
                keys_of_one: limits::MAX_DOWNSTREAM_KEYS,
                keys_of_all: usize::MAX,
            }
        }
    }

    /// Whether there is room for `wanted` beside the other owners' records.
    ///
    /// # Errors
    /// A bound would be passed: which, and what to do.
    pub(super) fn check<'a>(
        self,
        wanted: &TrustRecord,
        records: impl Iterator<Item = &'a TrustRecord>,
    ) -> Result<(), Failure> {
        if wanted.jwt.len() > self.keys_of_one || wanted.bytes() > limits::MAX_DOWNSTREAM_KEY_BYTES
        {
            return Err(Failure::new(
                Kind::Exhausted,
                format!(
                    "this downstream server may publish {} keys of together {} bytes; wait until one has expired, or have \
                     an administrator remove one (`bulla bundle remove`)",
                    self.keys_of_one,
                    limits::MAX_DOWNSTREAM_KEY_BYTES
                ),
            ));
        }
        let others = records.filter(|record| {
            matches!(record.owner, TrustOwner::Entry(_)) && record.owner != wanted.owner
        });
        let (mut owners, mut keys, mut bytes) = (1, wanted.jwt.len(), wanted.bytes());
        for record in others {
            owners += 1;
            keys += record.jwt.len();
            bytes += record.bytes();
        }
        if owners > limits::MAX_DOWNSTREAM_OWNERS
            || keys > self.keys_of_all
            || bytes > limits::MAX_ALL_DOWNSTREAM_KEY_BYTES
        {
            return Err(Failure::new(
                Kind::Exhausted,
                "downstream servers have published as many keys as there is room for; see who did with \
                 `bulla bundle show --owners`",
            ));
        }
        Ok(())
    }
}

/// Holds what administrators appended to its bounds.
///
/// # Errors
/// A bound would be passed: which, and what to do.
pub(super) fn check_appended(record: &TrustRecord) -> Result<(), Failure> {
    let too_many = |what: &str, most: usize| {
        let message = format!(
            "the bundle may have {most} appended {what}; remove what is not needed any more (`bulla bundle remove`)"
        );
        Err(Failure::new(Kind::Exhausted, message))
    };
    if record.x509.len() > limits::MAX_APPENDED_ROOTS {
        return too_many("X.509 authorities", limits::MAX_APPENDED_ROOTS);
    }
    if record.jwt.len() > limits::MAX_APPENDED_KEYS {
        return too_many("JWT keys", limits::MAX_APPENDED_KEYS);
    }
    for owned in &record.x509 {
        check_root(&owned.authority)?;
    }
    Ok(())
}

fn check_root(root: &X509AuthorityCertificate) -> Result<(), Failure> {
    if root.der.len() > limits::MAX_ROOT_BYTES {
        return Err(Failure::invalid(format!(
            "an X.509 authority has {} bytes; at most {} are allowed",
            root.der.len(),
            limits::MAX_ROOT_BYTES
        )));
    }
    Ok(())
}
