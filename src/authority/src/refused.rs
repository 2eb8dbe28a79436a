//! Why an authority cannot be used, and why it does not prepare a certificate.

use identity::{SpiffeId, Timestamp, TrustDomain};

use crate::lint::Lint;

/// Why a certificate is not prepared. Nothing was recorded or signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The ID is of another trust domain.
    #[error("{id} is not of trust domain {authority}; this authority signs for its own only")]
    OtherTrustDomain {
        /// The ID asked for.
        id: SpiffeId,
        /// The authority's trust domain.
        authority: TrustDomain,
    },
    /// X509-SVID section 3.1: a leaf's ID has a path.
    #[error("{0} has no path; give the workload an ID such as {0}/service")]
    NoPath(SpiffeId),
    /// A DNS name that cannot go into a certificate.
    #[error("{name:?} cannot be a DNS name in a certificate: {why}; correct the entry")]
    DnsName {
        /// The name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// More DNS names than allowed.
    #[error("{0} DNS names are too many; split the entry")]
    TooManyDnsNames(usize),
    /// No lifetime was asked for.
    #[error("lifetime is zero; ask for at least one second")]
    NoLifetime,
    /// The authority expires before the certificate would begin to be useful.
    #[error("authority expired at {not_after:?}; rotate to a new one")]
    AuthorityExpired {
        /// When the authority expired.
        not_after: Timestamp,
    },
    /// The clock shows a time before the authority's, or outside what a certificate can say.
    #[error("the clock is outside the authority's validity; correct it and try again")]
    Clock,
    /// The key to be certified is the authority's own.
    #[error("the key is the authority's own; generate a new one")]
    AuthorityKey,
    /// The path length of an authority's certificate, or of one above it, is used up.
    #[error(
        "this authority's path length allows no authority below it; have its certificate signed with a greater one"
    )]
    NoRoom,
    /// The finished template broke a rule: a fault of this program, not of the caller.
    #[error("prepared certificate failed its check and was dropped: {0}")]
    Lint(#[from] Lint),
}

/// Why an authority cannot be made or loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The certificate cannot be read.
    #[error("authority certificate cannot be read: {0}")]
    Encoding(&'static str),
    /// The certificate and the key do not belong together.
    #[error("authority certificate is for another key; load the key that belongs to it")]
    OtherKey,
    /// The certificate may not sign SVIDs of a trust domain.
    #[error("certificate is not a SPIFFE signing certificate: {0}")]
    Profile(&'static str),
    /// The certificate has expired.
    #[error("authority certificate expired at {0:?}; prepare a new authority")]
    Expired(Timestamp),
    /// The certificate is not valid yet.
    #[error("authority certificate is not valid before {0:?}; compare the clock")]
    NotYetValid(Timestamp),
    /// The chain above an intermediate does not fit.
    #[error("authority chain does not fit: {0}")]
    Chain(&'static str),
    /// The terms cannot be put into a certificate.
    #[error("authority terms: {0}")]
    Terms(&'static str),
    /// The key id is empty, too long or not plain.
    #[error("key id must be 1 to 64 letters, digits, '-' or '_'")]
    KeyId,
    /// The signer failed.
    #[error(transparent)]
    Sign(#[from] keys::SignError),
}
