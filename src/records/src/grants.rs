//! What stands beside an entry: the limits of its tokens, and break-glass for a
//! workload.

use identity::{EntryId, Seconds, SpiffeId, Timestamp};
use prost::Message;

use crate::RecordError;
use crate::envelope::{BREAK_GLASS, TOKEN_LIMITS, open, seal};
use crate::error::damaged;

/// What tokens an entry's workloads can have at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLimitsRecord {
    /// The entry.
    pub entry: EntryId,
    /// The audiences; empty is all.
    pub audiences: Vec<String>,
    /// The longest life.
    pub max_ttl: Option<Seconds>,
}

/// An emergency for one workload: asked for by one person, approved by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlassRecord {
    /// Names it.
    pub id: String,
    /// For this workload alone.
    pub spiffe_id: SpiffeId,
    /// The ticket that explains it.
    pub ticket: String,
    /// Who asked.
    pub requester: String,
    /// The node whose agent gave the requester's SVID; none for a user on the admin
    /// socket.
    pub requester_node: Option<String>,
    /// Who approved.
    pub approver: Option<String>,
    /// The node whose agent gave the approver's SVID; none for a user on the admin
    /// socket.
    pub approver_node: Option<String>,
    /// How long it lasts from the approval.
    pub lasts: Seconds,
    /// When it was asked for.
    pub opened_at: Timestamp,
    /// When it ends; before the approval, when it lapses.
    pub ends_at: Timestamp,
}

#[derive(Clone, PartialEq, Message)]
struct LimitsBody {
    #[prost(string, tag = "1")]
    entry: String,
    #[prost(string, repeated, tag = "2")]
    audiences: Vec<String>,
    #[prost(uint32, optional, tag = "3")]
    max_ttl: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct GlassBody {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    spiffe_id: String,
    #[prost(string, tag = "3")]
    ticket: String,
    #[prost(string, tag = "4")]
    requester: String,
    #[prost(string, optional, tag = "5")]
    approver: Option<String>,
    #[prost(uint32, tag = "6")]
    lasts: u32,
    #[prost(int64, tag = "7")]
    opened_at: i64,
    #[prost(int64, tag = "8")]
    ends_at: i64,
    #[prost(string, optional, tag = "9")]
    requester_node: Option<String>,
    #[prost(string, optional, tag = "10")]
    approver_node: Option<String>,
}

/// Encodes an entry's limits.
///
/// # Errors
/// [`RecordError::TooLarge`]: the audiences do not fit into one record.
pub fn encode_token_limits(limits: &TokenLimitsRecord) -> Result<Vec<u8>, RecordError> {
    let body = LimitsBody {
        entry: limits.entry.as_str().into(),
        audiences: limits.audiences.clone(),
        max_ttl: limits.max_ttl.map(|span| span.0),
    };
    seal(TOKEN_LIMITS, &body)
}

/// Decodes an entry's limits.
///
/// # Errors
/// The bytes are no such record.
pub fn decode_token_limits(bytes: &[u8]) -> Result<TokenLimitsRecord, RecordError> {
    let body: LimitsBody = open(TOKEN_LIMITS, bytes)?;
    Ok(TokenLimitsRecord {
        entry: EntryId::parse(&body.entry).map_err(|e| damaged(TOKEN_LIMITS, &e))?,
        audiences: body.audiences,
        max_ttl: body.max_ttl.map(Seconds),
    })
}

/// Encodes break-glass.
///
/// # Errors
/// [`RecordError::TooLarge`]: its ticket does not fit into one record.
pub fn encode_break_glass(glass: &BreakGlassRecord) -> Result<Vec<u8>, RecordError> {
    let body = GlassBody {
        id: glass.id.clone(),
        spiffe_id: glass.spiffe_id.as_str().into(),
        ticket: glass.ticket.clone(),
        requester: glass.requester.clone(),
        approver: glass.approver.clone(),
        requester_node: glass.requester_node.clone(),
        approver_node: glass.approver_node.clone(),
        lasts: glass.lasts.0,
        opened_at: glass.opened_at.0,
        ends_at: glass.ends_at.0,
    };
    seal(BREAK_GLASS, &body)
}

/// Decodes break-glass.
///
/// # Errors
/// The bytes are no such record.
pub fn decode_break_glass(bytes: &[u8]) -> Result<BreakGlassRecord, RecordError> {
    let body: GlassBody = open(BREAK_GLASS, bytes)?;
    Ok(BreakGlassRecord {
        id: body.id,
        spiffe_id: SpiffeId::parse(&body.spiffe_id).map_err(|e| damaged(BREAK_GLASS, &e))?,
        ticket: body.ticket,
        requester: body.requester,
        approver: body.approver,
        requester_node: body.requester_node,
        approver_node: body.approver_node,
        lasts: Seconds(body.lasts),
        opened_at: Timestamp(body.opened_at),
        ends_at: Timestamp(body.ends_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_break_glass_survive() {
        let limits = TokenLimitsRecord {
            entry: EntryId::parse("e1").unwrap(),
            audiences: vec!["payments".into()],
            max_ttl: Some(Seconds(60)),
        };
        let bytes = encode_token_limits(&limits).unwrap();
        assert_eq!(decode_token_limits(&bytes).unwrap(), limits);
        let glass = BreakGlassRecord {
            id: "bg_1".into(),
            spiffe_id: SpiffeId::parse("spiffe://example.org/a").unwrap(),
            ticket: "INC-7".into(),
            requester: "uid:1".into(),
            requester_node: None,
            approver: Some("spiffe://example.org/admin".into()),
            approver_node: Some("spiffe://example.org/spire/agent/n1".into()),
            lasts: Seconds(900),
            opened_at: Timestamp(5),
            ends_at: Timestamp(905),
        };
        let bytes = encode_break_glass(&glass).unwrap();
        assert_eq!(decode_break_glass(&bytes).unwrap(), glass);
        assert!(decode_token_limits(&bytes).is_err(), "another kind");
    }
}
