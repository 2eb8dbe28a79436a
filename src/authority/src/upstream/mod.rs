//! An authority above this server: what is checked before it is used, what it may
//! sign, and what of it stands in the own bundle. All of it decided from bytes and
//! the time; where they come from (files, another server) is the shell's.
//!
//! The published root is the upstream's. What this server signs with is an
//! intermediate below it, which travels in every chain; so a new intermediate under
//! a root that everybody has needs no waiting, and a new root does.

mod ca;
mod path;
mod roots;

use std::sync::Arc;

use identity::{Timestamp, TrustDomain};
use keys::Signer;

use crate::AuthorityError;

pub use ca::UpstreamCa;
pub use path::{Granted, granted};
pub use roots::{Anchored, Given, Holding, follow, is_worth_it, needs_successor, shown};

/// Why an upstream authority, or what it signed, is not used: what was found and
/// what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamFault {
    /// No certificate was given.
    #[error("there is no certificate; put the CA's certificate first, then those above it")]
    Empty,
    /// More certificates than any sensible chain has.
    #[error("{0} certificates are too many; give the CA's, those above it, and no others")]
    TooMany(usize),
    /// Not the DER of one certificate.
    #[error("certificate {0} cannot be read: {1}")]
    Encoding(usize, &'static str),
    /// The private key is not the certificate's.
    #[error(
        "the private key does not belong to the first certificate; give the key that the CA's certificate was made for"
    )]
    OtherKey,
    /// Not a CA, or not one that may sign certificates.
    #[error("certificate {0} {1}; use a CA's certificate (CA true, key usage keyCertSign)")]
    NotACa(usize, &'static str),
    /// No room for an intermediate.
    #[error(
        "the path length of certificate {0} allows no intermediate below the CA; have it signed with a path length of at least {1}"
    )]
    PathLength(usize, u32),
    /// Name constraints that the trust domain's names do not meet.
    #[error("the name constraints of certificate {0} {1}")]
    NameConstraints(usize, String),
    /// An extension that nobody here understands and that says it matters.
    #[error("certificate {0} has a critical extension that is not known: {1}")]
    CriticalExtension(usize, String),
    /// Past its end.
    #[error("certificate {0} expired at {at}; renew it", at = .1.0)]
    Expired(usize, Timestamp),
    /// Before its start.
    #[error("certificate {0} is not valid before {at}; compare the clocks", at = .1.0)]
    NotYetValid(usize, Timestamp),
    /// The certificates do not lead to one of the roots.
    #[error("certificate {0} is not signed by the one after it, nor by a root of the bundle")]
    NoPath(usize),
    /// There is no root that is valid.
    #[error("there is no root; give the certificates that everybody is to trust")]
    NoRoot,
    /// What was signed cannot be this server's authority.
    #[error("what the upstream signed cannot be used: {0}")]
    Unusable(String),
}

/// A request for an intermediate (PKCS#10): proof that this server holds the key. The
/// upstream takes nothing else from it.
///
/// # Errors
/// The signer failed.
pub fn request(
    trust_domain: &TrustDomain,
    signer: &Arc<dyn Signer>,
) -> Result<Vec<u8>, AuthorityError> {
    crate::certificate::request(trust_domain, signer)
}
