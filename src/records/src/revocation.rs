//! Revocations as the store holds them, one record each, and the sequence number of
//! the list they make.

use identity::{Revocation, Revoked, Timestamp, TrustDomain};
use prost::Message;

use crate::RecordError;
use crate::envelope::{REVOCATION, REVOCATION_LIST, open, seal};
use crate::error::damaged;

#[derive(Clone, PartialEq, Message)]
struct RevocationBody {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(int64, tag = "3")]
    at: i64,
    #[prost(int64, optional, tag = "4")]
    until: Option<i64>,
    #[prost(string, tag = "5")]
    authority: String,
    #[prost(string, tag = "6")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListBody {
    #[prost(uint64, tag = "1")]
    sequence: u64,
}

/// Encodes a revocation.
///
/// # Errors
/// None in practice: it always fits.
pub fn encode_revocation(revocation: &Revocation) -> Result<Vec<u8>, RecordError> {
    let body = RevocationBody {
        kind: revocation.what.kind().into(),
        value: revocation.what.value(),
        at: revocation.at.0,
        until: revocation.until.map(|until| until.0),
        authority: revocation.authority.as_ref().into(),
        reason: revocation.reason.as_ref().into(),
    };
    seal(REVOCATION, &body)
}

/// Decodes a revocation of a trust domain.
///
/// # Errors
/// The bytes are no revocation record, or another trust domain's.
pub fn decode_revocation(
    bytes: &[u8],
    trust_domain: &TrustDomain,
) -> Result<Revocation, RecordError> {
    let body: RevocationBody = open(REVOCATION, bytes)?;
    let what = Revoked::parse(&body.kind, &body.value, trust_domain);
    let what = what.map_err(|e| damaged(REVOCATION, &e))?;
    if body.until.is_none() && !matches!(what, Revoked::Id(_)) {
        return Err(damaged(REVOCATION, &"it has no end and is not an ID's"));
    }
    Ok(Revocation {
        what,
        at: Timestamp(body.at),
        until: body.until.map(Timestamp),
        authority: body.authority.into(),
        reason: body.reason.into(),
    })
}

/// Encodes the sequence number of the list of all revocations.
///
/// # Errors
/// None in practice: it always fits.
pub fn encode_revocation_sequence(sequence: u64) -> Result<Vec<u8>, RecordError> {
    seal(REVOCATION_LIST, &ListBody { sequence })
}

/// Decodes the sequence number of the list of all revocations.
///
/// # Errors
/// The bytes are no such record.
pub fn decode_revocation_sequence(bytes: &[u8]) -> Result<u64, RecordError> {
    let body: ListBody = open(REVOCATION_LIST, bytes)?;
    Ok(body.sequence)
}
