//! Attested nodes as the store holds them.

use identity::{CertificateSerial, Node, SpiffeId, Timestamp};
use prost::Message;

use crate::RecordError;
use crate::entry::{selectors, texts};
use crate::envelope::{NODE, open, seal};
use crate::error::damaged;

#[derive(Clone, PartialEq, Message)]
struct NodeBody {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    attestor: String,
    #[prost(string, repeated, tag = "3")]
    selectors: Vec<String>,
    #[prost(message, optional, tag = "4")]
    current: Option<SvidBody>,
    #[prost(message, optional, tag = "5")]
    next: Option<SvidBody>,
    #[prost(bool, tag = "6")]
    banned: bool,
    #[prost(bool, tag = "7")]
    can_reattest: bool,
    #[prost(string, tag = "8")]
    agent_version: String,
    #[prost(int64, tag = "9")]
    attested_at: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SvidBody {
    #[prost(bytes = "vec", tag = "1")]
    serial: Vec<u8>,
    #[prost(int64, tag = "2")]
    expires_at: i64,
}

impl SvidBody {
    fn new(serial: &CertificateSerial, expires_at: Timestamp) -> Self {
        Self {
            serial: serial.as_bytes().to_vec(),
            expires_at: expires_at.0,
        }
    }

    fn value(&self) -> (CertificateSerial, Timestamp) {
        (
            CertificateSerial::new(&self.serial),
            Timestamp(self.expires_at),
        )
    }
}

/// Encodes a node.
///
/// # Errors
/// [`RecordError::TooLarge`]: it does not fit into one record.
pub fn encode_node(node: &Node) -> Result<Vec<u8>, RecordError> {
    let body = NodeBody {
        id: node.id.as_str().into(),
        attestor: node.attestor.clone(),
        selectors: texts(&node.selectors),
        current: Some(SvidBody::new(&node.serial, node.expires_at)),
        next: node.next.as_ref().map(|(s, at)| SvidBody::new(s, *at)),
        banned: node.banned,
        can_reattest: node.can_reattest,
        agent_version: node.agent_version.clone(),
        attested_at: node.attested_at.0,
    };
    seal(NODE, &body)
}

/// Decodes a node.
///
/// # Errors
/// The bytes are no node record.
pub fn decode_node(bytes: &[u8]) -> Result<Node, RecordError> {
    let body: NodeBody = open(NODE, bytes)?;
    let (serial, expires_at) = body
        .current
        .as_ref()
        .map(SvidBody::value)
        .ok_or_else(|| damaged(NODE, &"it has no current SVID"))?;
    let id = SpiffeId::parse(&body.id).map_err(|e| damaged(NODE, &e))?;
    if !id.is_agent() {
        return Err(damaged(NODE, &"its ID is not an agent's"));
    }
    Ok(Node {
        id,
        attestor: body.attestor,
        selectors: selectors(&body.selectors).map_err(|e| damaged(NODE, &e))?,
        serial,
        expires_at,
        next: body.next.as_ref().map(SvidBody::value),
        banned: body.banned,
        can_reattest: body.can_reattest,
        agent_version: body.agent_version,
        attested_at: Timestamp(body.attested_at),
    })
}
