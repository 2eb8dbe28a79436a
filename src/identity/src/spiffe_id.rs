//! SPIFFE IDs (SPIFFE-ID section 2): one strict parser for the whole product.
//!
//! Nothing is normalised or decoded: the bytes that were checked are the bytes
//! that are compared, stored and put into certificates.

use std::fmt;
use std::sync::Arc;

use crate::TrustDomain;
use crate::trust_domain::{self, TrustDomainError};

/// The longest SPIFFE ID, in bytes (SPIFFE-ID section 2.3).
pub const MAX_SPIFFE_ID_BYTES: usize = 2048;

const SCHEME: &str = "spiffe://";

/// A valid SPIFFE ID: `spiffe://<trust domain>` with or without a path.
///
/// Cloning is cheap (shared text). Comparison is byte by byte, which is right
/// because only lowercase trust domains exist.
///
/// ```
/// use identity::SpiffeId;
/// let id = SpiffeId::parse("spiffe://example.org/payments/api").unwrap();
/// assert_eq!(id.trust_domain_str(), "example.org");
/// assert_eq!(id.path(), "/payments/api");
/// assert!(SpiffeId::parse("spiffe://example.org/").is_err());
/// assert!(SpiffeId::parse("spiffe://example.org/a%2Fb").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    uri: Arc<str>,
    path_at: u16,
}

/// Why a text is no SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// Nothing was given.
    #[error("SPIFFE ID is empty; give one such as spiffe://example.org/service")]
    Empty,
    /// The text does not begin with `spiffe://`.
    #[error("SPIFFE ID does not begin with \"spiffe://\"")]
    Scheme,
    /// More than [`MAX_SPIFFE_ID_BYTES`].
    #[error("SPIFFE ID has {0} bytes; at most {MAX_SPIFFE_ID_BYTES} are allowed")]
    TooLong(usize),
    /// The host is not a trust domain name.
    #[error("SPIFFE ID has a bad trust domain: {0}")]
    TrustDomain(#[from] TrustDomainError),
    /// A path, when given, must start with a slash.
    #[error("SPIFFE ID path does not begin with '/'")]
    NoLeadingSlash,
    /// The path ends in a slash.
    #[error("SPIFFE ID ends in '/'; remove the trailing slash")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("SPIFFE ID path has an empty segment at byte {0}")]
    EmptySegment(usize),
    /// A `.` or `..` segment.
    #[error("SPIFFE ID path has a '.' or '..' segment at byte {0}")]
    DotSegment(usize),
    /// A byte outside `a-z A-Z 0-9 . - _` in a path segment.
    #[error(
        "SPIFFE ID path has the character {character:?} at byte {at}; only letters, digits, '.', '-' and '_' are allowed in a segment"
    )]
    Character {
        /// The offending character.
        character: char,
        /// Its byte offset in the whole text.
        at: usize,
    },
}

impl SpiffeId {
    /// Parses a SPIFFE ID, strictly.
    ///
    /// # Errors
    /// Says which rule of SPIFFE-ID section 2 the text breaks, and where.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        if text.len() > MAX_SPIFFE_ID_BYTES {
            return Err(SpiffeIdError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        trust_domain::check(host)?;
        let path_at = SCHEME.len() + host.len();
        check_path(path, path_at)?;
        Ok(Self {
            uri: text.into(),
            path_at: u16::try_from(path_at).unwrap_or(u16::MAX),
        })
    }

    /// Puts an ID together from a trust domain and a path, which is empty or
    /// begins with a slash.
    ///
    /// # Errors
    /// Says which rule the path breaks, or that the whole is too long.
    pub fn new(trust_domain: &TrustDomain, path: &str) -> Result<Self, SpiffeIdError> {
        // Without this a path such as "evil" would lengthen the trust domain.
        if !path.is_empty() && !path.starts_with('/') {
            return Err(SpiffeIdError::NoLeadingSlash);
        }
        Self::parse(&format!("{SCHEME}{trust_domain}{path}"))
    }

    pub(crate) fn of_trust_domain(trust_domain: &TrustDomain) -> Self {
        let uri: Arc<str> = format!("{SCHEME}{trust_domain}").into();
        let path_at = u16::try_from(uri.len()).unwrap_or(u16::MAX);
        Self { uri, path_at }
    }

    /// The whole URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The trust domain name.
    #[must_use]
    pub fn trust_domain_str(&self) -> &str {
        self.uri
            .get(SCHEME.len()..usize::from(self.path_at))
            .unwrap_or_default()
    }

    /// The trust domain, as a value of its own (allocates).
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        // The name was checked when this ID was made, so parsing cannot fail.
        TrustDomain::parse(self.trust_domain_str()).unwrap_or_else(|_| unreachable!("checked name"))
    }

    /// The path with its leading slash, or the empty string.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri
            .get(usize::from(self.path_at)..)
            .unwrap_or_default()
    }

    /// Whether the ID has a path, as every workload's must (X509-SVID 3.1).
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.path().is_empty()
    }

    /// Whether the ID belongs to `trust_domain`.
    #[must_use]
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain_str() == trust_domain.as_str()
    }

    /// Whether the path is under `/spire/`, which is reserved for servers and
    /// agents: no workload entry may name it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        let path = self.path();
        path == "/spire" || path.starts_with("/spire/")
    }

    /// Whether this is the ID of an attested node agent, `/spire/agent/…`.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        self.path().starts_with("/spire/agent/")
    }

    /// Whether this is the ID of a server, `/spire/server`.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.path() == "/spire/server"
    }
}

fn check_path(path: &str, offset: usize) -> Result<(), SpiffeIdError> {
    if path.is_empty() {
        return Ok(());
    }
    let Some(inner) = path.strip_prefix('/') else {
        return Err(SpiffeIdError::NoLeadingSlash);
    };
    if inner.is_empty() || inner.ends_with('/') {
        return Err(SpiffeIdError::TrailingSlash);
    }
    let mut at = offset + 1;
    for segment in inner.split('/') {
        match segment {
            "" => return Err(SpiffeIdError::EmptySegment(at)),
            "." | ".." => return Err(SpiffeIdError::DotSegment(at)),
            _ => {}
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if let Some((i, character)) = segment.char_indices().find(|(_, c)| !allowed(*c)) {
            return Err(SpiffeIdError::Character {
                character,
                at: at + i,
            });
        }
        at += segment.len() + 1;
    }
    Ok(())
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.uri)
    }
}

impl std::str::FromStr for SpiffeId {
    type Err = SpiffeIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
