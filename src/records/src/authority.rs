//! The public half of a signing authority and where it stands in its rotation.
//! The private key is in the key storage, under `key_id`.

use identity::Timestamp;
use prost::Message;

use crate::RecordError;
use crate::envelope::{AUTHORITY, open, seal};
use crate::error::damaged;

/// What an authority signs; each profile rotates by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorityProfile {
    /// X.509-SVIDs.
    X509,
    /// JWT-SVIDs.
    Jwt,
    /// Access tokens (RFC 9068).
    Access,
}

impl AuthorityProfile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::X509, Self::Jwt, Self::Access];

    /// The profile's name in keys and records: `x509`, `jwt`, `access`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Jwt => "jwt",
            Self::Access => "access",
        }
    }
}

/// Where an authority stands between its birth and its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorityState {
    /// The key exists; nobody has been told.
    Prepared,
    /// Its public half is in the bundle.
    Published,
    /// It signs.
    Active,
    /// It signs no more; what it signed may still be valid.
    Retired,
    /// It has left the bundle.
    Removed,
}

/// The public half of a signing authority, as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRecord {
    /// What it signs.
    pub profile: AuthorityProfile,
    /// Its id: the hex SKI of an X.509 authority, the `kid` of other keys.
    pub id: String,
    /// Where it stands.
    pub state: AuthorityState,
    /// Its name in the key storage.
    pub key_id: String,
    /// X.509: its certificate, then those above it, DER. Others: empty.
    pub chain: Vec<Vec<u8>>,
    /// Its public key, DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// The server whose key it is; several servers never share one.
    pub server: String,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity: nothing it signs outlives this.
    pub not_after: Timestamp,
    /// When it entered its present state.
    pub since: Timestamp,
    /// The latest expiry of anything it signed; it must not be removed before.
    pub last_expiry: Timestamp,
    /// Whether the key is no longer to be relied on.
    pub tainted: bool,
}

#[derive(Clone, PartialEq, Message)]
struct AuthorityBody {
    #[prost(uint32, tag = "1")]
    profile: u32,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint32, tag = "3")]
    state: u32,
    #[prost(string, tag = "4")]
    key_id: String,
    #[prost(bytes = "vec", repeated, tag = "5")]
    chain: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "6")]
    spki: Vec<u8>,
    #[prost(string, tag = "7")]
    server: String,
    #[prost(int64, tag = "8")]
    not_before: i64,
    #[prost(int64, tag = "9")]
    not_after: i64,
    #[prost(int64, tag = "10")]
    since: i64,
    #[prost(int64, tag = "11")]
    last_expiry: i64,
    #[prost(bool, tag = "12")]
    tainted: bool,
}

/// Encodes an authority's record.
///
/// # Errors
/// [`RecordError::TooLarge`]: its chain does not fit into one record.
pub fn encode_authority(authority: &AuthorityRecord) -> Result<Vec<u8>, RecordError> {
    let body = AuthorityBody {
        profile: match authority.profile {
            AuthorityProfile::X509 => 1,
            AuthorityProfile::Jwt => 2,
            AuthorityProfile::Access => 3,
        },
        id: authority.id.clone(),
        state: match authority.state {
            AuthorityState::Prepared => 1,
            AuthorityState::Published => 2,
            AuthorityState::Active => 3,
            AuthorityState::Retired => 4,
            AuthorityState::Removed => 5,
        },
        key_id: authority.key_id.clone(),
        chain: authority.chain.clone(),
        spki: authority.spki.clone(),
        server: authority.server.clone(),
        not_before: authority.not_before.0,
        not_after: authority.not_after.0,
        since: authority.since.0,
        last_expiry: authority.last_expiry.0,
        tainted: authority.tainted,
    };
    seal(AUTHORITY, &body)
}

/// Decodes an authority's record.
///
/// # Errors
/// The bytes are no authority record.
pub fn decode_authority(bytes: &[u8]) -> Result<AuthorityRecord, RecordError> {
    let body: AuthorityBody = open(AUTHORITY, bytes)?;
    let profile = match body.profile {
        1 => AuthorityProfile::X509,
        2 => AuthorityProfile::Jwt,
        3 => AuthorityProfile::Access,
        n => return Err(damaged(AUTHORITY, &format!("profile number {n}"))),
    };
    let state = match body.state {
        1 => AuthorityState::Prepared,
        2 => AuthorityState::Published,
        3 => AuthorityState::Active,
        4 => AuthorityState::Retired,
        5 => AuthorityState::Removed,
        n => return Err(damaged(AUTHORITY, &format!("state number {n}"))),
    };
    Ok(AuthorityRecord {
        profile,
        id: body.id,
        state,
        key_id: body.key_id,
        chain: body.chain,
        spki: body.spki,
        server: body.server,
        not_before: Timestamp(body.not_before),
        not_after: Timestamp(body.not_after),
        since: Timestamp(body.since),
        last_expiry: Timestamp(body.last_expiry),
        tainted: body.tainted,
    })
}
