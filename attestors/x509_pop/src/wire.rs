//! The messages as SPIRE's x509pop has them: JSON, byte strings in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A byte string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text);
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

/// The node's first message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Presented {
    /// Certificates in DER, the node's own first.
    pub(crate) certificates: Vec<Bytes>,
}

/// The server's challenge: one of the two, by the kind of the node's key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Challenge {
    pub(crate) rsa_signature: Option<Nonce>,
    pub(crate) ecdsa_signature: Option<Nonce>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Nonce {
    pub(crate) nonce: Bytes,
}

/// The node's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) rsa_signature: Option<RsaSignature>,
    pub(crate) ecdsa_signature: Option<EcdsaSignature>,
}

/// RSASSA-PSS with SHA-256, a salt of any length.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RsaSignature {
    pub(crate) nonce: Bytes,
    pub(crate) signature: Bytes,
}

/// ECDSA over SHA-256; both numbers big-endian without leading zeros.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EcdsaSignature {
    pub(crate) nonce: Bytes,
    pub(crate) r: Bytes,
    pub(crate) s: Bytes,
}
