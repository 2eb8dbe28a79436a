//! Who asks, as attestation and the registration entry say, and the circumstances
//! the host derives. Nothing here is the caller's word.

use std::net::IpAddr;

use identity::{EntryId, Seconds, Selectors, SpiffeId, Timestamp};
use serde::{Deserialize, Serialize};

/// The workload that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its SPIFFE ID. Its groups are the paths above it: a workload
    /// `spiffe://example.org/checkout/api` is in `Path::"spiffe://example.org/checkout"`,
    /// in `Path` of itself, and in `TrustDomain::"example.org"`.
    pub spiffe_id: SpiffeId,
    /// The registration entry that gave it the SPIFFE ID.
    pub entry_id: EntryId,
    /// What the entry allows at most.
    pub limits: EntryLimits,
    /// What workload attestation found.
    pub selectors: Selectors,
    /// When it found that.
    pub attested_at: Timestamp,
    /// The node it runs on.
    pub node: NodeFacts,
}

/// What a registration entry allows at most, whatever policies say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryLimits {
    /// The audiences tokens may be for; `None` is all.
    pub audiences: Option<Vec<String>>,
    /// The longest life of a token.
    pub max_ttl: Option<Seconds>,
}

impl EntryLimits {
    /// Whether tokens may be for an audience.
    #[must_use]
    pub fn allow(&self, audience: &str) -> bool {
        let list = self.audiences.as_ref();
        list.is_none_or(|list| list.iter().any(|one| one == audience))
    }
}

/// What node attestation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// The agent's SPIFFE ID.
    pub spiffe_id: SpiffeId,
    /// The attestor, such as `x509pop`.
    pub attestor: String,
    /// What it stated.
    pub selectors: Selectors,
    /// When it did so last.
    pub attested_at: Timestamp,
}

/// What a sender-constrained token is bound to (`cnf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// SHA-256 of the certificate (`x5t#S256`, RFC 8705).
    Certificate([u8; 32]),
    /// SHA-256 thumbprint of the key (`jkt`, RFC 9449).
    Key([u8; 32]),
}

/// The circumstances of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// When it is decided.
    pub now: Timestamp,
    /// The address the node's connection comes from.
    pub source_ip: Option<IpAddr>,
    /// What the token can be bound to; `None` makes bearer tokens only.
    pub binding: Option<Binding>,
    /// How many tokens this entry got for this audience in the last five minutes.
    pub mints_5m: u32,
    /// An emergency that two people vouch for, on the server's record.
    pub break_glass: Option<BreakGlass>,
}

/// An emergency on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlass {
    /// The ticket that explains it.
    pub ticket: String,
    /// Who agreed to it; not the one who asked.
    pub approver: String,
}
