//! Node attestation by an X.509 certificate that the operator's own CA gave the
//! node, and by proof that the node has its key.
//!
//! The wire format is that of SPIRE's `x509pop`, so that stock agents attest: the
//! chain, then a nonce of 32 bytes, then a nonce of the node's own and a signature
//! over SHA-256 of both. Whoever is nobody yet can make the server do public-key
//! work here; what it may send is therefore bounded before any of that is done
//! ([`MAX_CERTIFICATES`], [`MAX_CHAIN_BYTES`], [`MAX_RSA_BITS`], exponent 65537), and
//! the chain is checked before a challenge is sent.

mod chain;
mod key;
mod prove;
mod roots;
mod verify;
mod wire;

#[cfg(test)]
mod test_keys;
#[cfg(test)]
mod test_pki;

pub use prove::{NodeCertificate, NodeCertificateError, X509PopProver};
pub use roots::{Roots, RootsError};
pub use verify::X509PopVerifier;

/// The attestor's name on the wire and in agent IDs.
pub const KIND: &str = "x509pop";

/// The most certificates a node may send, its own included.
pub const MAX_CERTIFICATES: usize = 8;

/// The most bytes of all certificates together.
pub const MAX_CHAIN_BYTES: usize = 16 * 1024;

/// The largest RSA key in any of the certificates, in bits; the smallest has 2048.
pub const MAX_RSA_BITS: usize = 4096;

/// Bytes of each side's nonce.
pub const NONCE_BYTES: usize = 32;
