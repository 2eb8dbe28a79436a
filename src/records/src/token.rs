//! Join tokens as the store holds them: never the token, only its hash.

use identity::{SpiffeId, Timestamp};
use prost::Message;

use crate::RecordError;
use crate::envelope::{TOKEN, open, seal};
use crate::error::damaged;

/// A join token that may be used once, until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenRecord {
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// From when on it is worthless.
    pub expires_at: Timestamp,
    /// The SPIFFE ID the admin asked to give to what runs under the agent; an
    /// entry with it was created beside the token.
    pub agent_alias: Option<SpiffeId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Which administrator created it; empty in records of older versions.
    pub created_by: String,
}

#[derive(Clone, PartialEq, Message)]
struct TokenBody {
    #[prost(bytes = "vec", tag = "1")]
    sha256: Vec<u8>,
    #[prost(int64, tag = "2")]
    expires_at: i64,
    #[prost(string, optional, tag = "3")]
    agent_alias: Option<String>,
    #[prost(int64, tag = "4")]
    created_at: i64,
    #[prost(string, tag = "5")]
    created_by: String,
}

/// Encodes a join token's record.
///
/// # Errors
/// None in practice: it always fits.
pub fn encode_token(token: &JoinTokenRecord) -> Result<Vec<u8>, RecordError> {
    let body = TokenBody {
        sha256: token.sha256.to_vec(),
        expires_at: token.expires_at.0,
        agent_alias: token.agent_alias.as_ref().map(|id| id.as_str().into()),
        created_at: token.created_at.0,
        created_by: token.created_by.clone(),
    };
    seal(TOKEN, &body)
}

/// Decodes a join token's record.
///
/// # Errors
/// The bytes are no join token record.
pub fn decode_token(bytes: &[u8]) -> Result<JoinTokenRecord, RecordError> {
    let body: TokenBody = open(TOKEN, bytes)?;
    let bad = |what: &dyn std::fmt::Display| damaged(TOKEN, what);
    let agent_alias = body.agent_alias.as_deref().map(SpiffeId::parse);
    Ok(JoinTokenRecord {
        sha256: body
            .sha256
            .try_into()
            .map_err(|v: Vec<u8>| bad(&format!("its hash has {} bytes, not 32", v.len())))?,
        expires_at: Timestamp(body.expires_at),
        agent_alias: agent_alias.transpose().map_err(|e| bad(&e))?,
        created_at: Timestamp(body.created_at),
        created_by: body.created_by,
    })
}
