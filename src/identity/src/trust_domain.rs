//! Trust domain names (SPIFFE-ID section 2.1): the host of every SPIFFE ID and
//! the key under which bundles, entries and authorities are kept apart.

use std::fmt;
use std::sync::Arc;

use crate::SpiffeId;

/// The longest trust domain name, in bytes (SPIFFE-ID section 2.3).
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// A valid trust domain name such as `example.org`: lowercase letters, digits,
/// `.`, `-` and `_`, at most 255 bytes, compared byte by byte.
///
/// ```
/// use identity::TrustDomain;
/// assert_eq!(TrustDomain::parse("example.org").unwrap().as_str(), "example.org");
/// assert!(TrustDomain::parse("Example.org").is_err());
/// assert_eq!(TrustDomain::from_human("spiffe://Example.ORG").unwrap().as_str(), "example.org");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// Why a text is no trust domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustDomainError {
    /// Nothing was given.
    #[error("trust domain name is empty; give a name such as example.org")]
    Empty,
    /// More than [`MAX_TRUST_DOMAIN_BYTES`].
    #[error("trust domain name has {0} bytes; at most {MAX_TRUST_DOMAIN_BYTES} are allowed")]
    TooLong(usize),
    /// A byte outside `a-z 0-9 . - _`.
    #[error(
        "trust domain name has the character {character:?} at byte {at}; only a-z, 0-9, '.', '-' and '_' are allowed"
    )]
    Character {
        /// The offending character.
        character: char,
        /// Its byte offset.
        at: usize,
    },
}

impl TrustDomain {
    /// Parses a bare name, strictly: no scheme, no uppercase.
    ///
    /// # Errors
    /// Says which rule of SPIFFE-ID 2.1 the text breaks.
    pub fn parse(text: &str) -> Result<Self, TrustDomainError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Parses what a person typed, or what a stock tool sends: the bare name or
    /// `spiffe://name`, with or without a path (which is dropped), in any case.
    ///
    /// # Errors
    /// As [`TrustDomain::parse`], after folding.
    pub fn from_human(text: &str) -> Result<Self, TrustDomainError> {
        let folded = text.trim().to_ascii_lowercase();
        let bare = folded.strip_prefix("spiffe://").unwrap_or(&folded);
        Self::parse(bare.split('/').next().unwrap_or(bare))
    }

    /// The bare name, without scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain's own SPIFFE ID, `spiffe://<name>`: the ID of its
    /// signing certificates and the key of bundle maps (Workload API).
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        SpiffeId::of_trust_domain(self)
    }
}

pub(crate) fn check(text: &str) -> Result<(), TrustDomainError> {
    if text.is_empty() {
        return Err(TrustDomainError::Empty);
    }
    if text.len() > MAX_TRUST_DOMAIN_BYTES {
        return Err(TrustDomainError::TooLong(text.len()));
    }
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        Some((at, character)) => Err(TrustDomainError::Character { character, at }),
        None => Ok(()),
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.0)
    }
}
