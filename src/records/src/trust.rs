//! Authorities in the own bundle that somebody else than the server brought: one
//! record for each owner, so that no owner can take another's space, and what an
//! owner brought can go with it.

use identity::{
    EntryId, JwtAuthorityKey, SpiffeId, Timestamp, TrustDomain, X509AuthorityCertificate,
};
use prost::Message;

use crate::RecordError;
use crate::envelope::{TRUST, open, seal};
use crate::error::damaged;

const ADMINISTRATOR: &str = "administrator";
const UNRECORDED: &str = "unrecorded";
const ENTRY: &str = "entry/";

/// Who brought authorities into the own bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustOwner {
    /// Administrators, who appended them.
    Administrator,
    /// A downstream server, by the entry that makes it one.
    Entry(EntryId),
    /// Somebody before owners were recorded.
    Unrecorded,
}

impl TrustOwner {
    /// Its name, as keys have it: `administrator`, `entry/<id>` or `unrecorded`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Administrator => ADMINISTRATOR.to_owned(),
            Self::Entry(id) => format!("{ENTRY}{id}"),
            Self::Unrecorded => UNRECORDED.to_owned(),
        }
    }

    /// The owner of that name, if there can be one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            ADMINISTRATOR => Some(Self::Administrator),
            UNRECORDED => Some(Self::Unrecorded),
            _ => {
                let id = EntryId::parse(name.strip_prefix(ENTRY)?).ok()?;
                Some(Self::Entry(id))
            }
        }
    }
}

/// One authority with how it came to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned<T> {
    /// The authority.
    pub authority: T,
    /// Since when it is in the bundle; the epoch when that was not recorded.
    pub since: Timestamp,
    /// Who asked for it; empty when that was not recorded.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
}

/// Everything that one owner brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRecord {
    /// Whose it is.
    pub owner: TrustOwner,
    /// The SPIFFE ID of a downstream server.
    pub spiffe_id: Option<SpiffeId>,
    /// X.509 authorities, oldest first.
    pub x509: Vec<Owned<X509AuthorityCertificate>>,
    /// JWT keys, oldest first.
    pub jwt: Vec<Owned<JwtAuthorityKey>>,
}

impl TrustRecord {
    /// A record of nothing yet.
    #[must_use]
    pub const fn empty(owner: TrustOwner) -> Self {
        Self {
            owner,
            spiffe_id: None,
            x509: Vec::new(),
            jwt: Vec::new(),
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.x509.is_empty() && self.jwt.is_empty()
    }

    /// The bytes of its authorities and what names them: what quotas count.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let x509 = self.x509.iter().map(|owned| owned.authority.der.len());
        let jwt = self.jwt.iter().map(|owned| {
            let key = &owned.authority;
            key.spki.len() + key.key_id.len()
        });
        x509.sum::<usize>() + jwt.sum::<usize>()
    }
}

#[derive(Clone, PartialEq, Message)]
struct TrustBody {
    #[prost(string, tag = "1")]
    owner: String,
    #[prost(string, tag = "2")]
    spiffe_id: String,
    #[prost(message, repeated, tag = "3")]
    x509: Vec<X509Body>,
    #[prost(message, repeated, tag = "4")]
    jwt: Vec<JwtBody>,
}

#[derive(Clone, PartialEq, Message)]
struct X509Body {
    #[prost(bytes = "vec", tag = "1")]
    der: Vec<u8>,
    #[prost(bool, tag = "2")]
    tainted: bool,
    #[prost(int64, tag = "3")]
    since: i64,
    #[prost(string, tag = "4")]
    by: String,
    #[prost(string, tag = "5")]
    why: String,
}

#[derive(Clone, PartialEq, Message)]
struct JwtBody {
    #[prost(string, tag = "1")]
    key_id: String,
    #[prost(bytes = "vec", tag = "2")]
    spki: Vec<u8>,
    #[prost(int64, optional, tag = "3")]
    expires_at: Option<i64>,
    #[prost(bool, tag = "4")]
    tainted: bool,
    #[prost(int64, tag = "5")]
    since: i64,
    #[prost(string, tag = "6")]
    by: String,
    #[prost(string, tag = "7")]
    why: String,
}

/// Encodes what one owner brought.
///
/// # Errors
/// [`RecordError::TooLarge`]: it does not fit into one record.
pub fn encode_trust(record: &TrustRecord) -> Result<Vec<u8>, RecordError> {
    let x509 = record.x509.iter().map(|owned| X509Body {
        der: owned.authority.der.to_vec(),
        tainted: owned.authority.tainted,
        since: owned.since.0,
        by: owned.by.clone(),
        why: owned.why.clone(),
    });
    let jwt = record.jwt.iter().map(|owned| JwtBody {
        key_id: owned.authority.key_id.as_ref().into(),
        spki: owned.authority.spki.to_vec(),
        expires_at: owned.authority.expires_at.map(|at| at.0),
        tainted: owned.authority.tainted,
        since: owned.since.0,
        by: owned.by.clone(),
        why: owned.why.clone(),
    });
    let body = TrustBody {
        owner: record.owner.name(),
        spiffe_id: record
            .spiffe_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        x509: x509.collect(),
        jwt: jwt.collect(),
    };
    seal(TRUST, &body)
}

/// Decodes what one owner brought into the bundle of `td`.
///
/// # Errors
/// The bytes are no such record.
pub fn decode_trust(bytes: &[u8], td: &TrustDomain) -> Result<TrustRecord, RecordError> {
    let body: TrustBody = open(TRUST, bytes)?;
    let owner = TrustOwner::parse(&body.owner)
        .ok_or_else(|| damaged(TRUST, &format!("its owner is {:?}", body.owner)))?;
    let spiffe_id = match body.spiffe_id.as_str() {
        "" => None,
        text => Some(SpiffeId::parse(text).map_err(|e| damaged(TRUST, &e))?),
    };
    if spiffe_id.as_ref().is_some_and(|id| !id.is_member_of(td)) {
        return Err(damaged(TRUST, &"its SPIFFE ID is of another trust domain"));
    }
    let x509 = body.x509.into_iter().map(|x509| Owned {
        authority: X509AuthorityCertificate {
            der: x509.der.into(),
            tainted: x509.tainted,
        },
        since: Timestamp(x509.since),
        by: x509.by,
        why: x509.why,
    });
    let jwt = body.jwt.into_iter().map(|jwt| Owned {
        authority: JwtAuthorityKey {
            key_id: jwt.key_id.into(),
            spki: jwt.spki.into(),
            expires_at: jwt.expires_at.map(Timestamp),
            tainted: jwt.tainted,
        },
        since: Timestamp(jwt.since),
        by: jwt.by,
        why: jwt.why,
    });
    Ok(TrustRecord {
        owner,
        spiffe_id,
        x509: x509.collect(),
        jwt: jwt.collect(),
    })
}
