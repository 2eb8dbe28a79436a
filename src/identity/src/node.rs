//! Attested nodes: what the server remembers of each agent.

use std::fmt;

use crate::{Selectors, SpiffeId, Timestamp};

/// The serial number of a certificate: its big-endian magnitude, at most 20
/// bytes (RFC 5280 section 4.1.2.2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateSerial(Box<[u8]>);

impl CertificateSerial {
    /// Takes the magnitude; leading zero bytes are dropped.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        Self(bytes.get(start..).unwrap_or_default().into())
    }

    /// The big-endian magnitude without leading zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for CertificateSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateSerial({self})")
    }
}

/// One attested node agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The agent's SPIFFE ID, `/spire/agent/<attestor>/…`.
    pub id: SpiffeId,
    /// The node attestor that vouched for it, such as `join_token`.
    pub attestor: String,
    /// What the attestor found; node alias entries match on these.
    pub selectors: Selectors,
    /// Serial of the agent's current X.509-SVID.
    pub serial: CertificateSerial,
    /// When that SVID expires.
    pub expires_at: Timestamp,
    /// A renewed SVID that the agent has not used yet; once it does, it becomes
    /// the current one and the old one stops working.
    pub next: Option<(CertificateSerial, Timestamp)>,
    /// Whether the admin banned it: no attestation, no renewal, no issuance.
    pub banned: bool,
    /// Whether the agent may attest again by itself when its SVID has expired.
    pub can_reattest: bool,
    /// The version the agent last reported, empty until it did.
    pub agent_version: String,
    /// When it first attested.
    pub attested_at: Timestamp,
}
