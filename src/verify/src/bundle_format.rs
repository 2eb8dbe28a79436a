//! The SPIFFE bundle format (SPIFFE Trust Domain and Bundle section 4).

use identity::{Bundle, TrustDomain};

/// The largest document looked at, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// Why a document is not a bundle. Bad elements are skipped, not reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("bundle document has {0} bytes; at most {MAX_DOCUMENT_BYTES} are allowed")]
    TooLarge(usize),
    /// Not JSON, or not of the required shape.
    #[error("not a SPIFFE bundle document: {0}")]
    Shape(String),
}

/// Writes a bundle as a JWK Set with both uses, a sequence number and a refresh hint.
#[must_use]
pub fn encode(bundle: &Bundle) -> String {
    let _ = bundle;
    String::new()
}

/// Writes the JWT keys alone, as the Workload API and OIDC discovery serve them.
#[must_use]
pub fn encode_jwt_keys(bundle: &Bundle) -> String {
    let _ = bundle;
    String::new()
}

/// Reads a bundle document of a trust domain, which is known beforehand.
///
/// # Errors
/// Only when the document as a whole is unusable: then keep the old bundle.
pub fn decode(trust_domain: &TrustDomain, document: &[u8]) -> Result<Bundle, FormatError> {
    let _ = document;
    Ok(Bundle::empty(trust_domain.clone()))
}
