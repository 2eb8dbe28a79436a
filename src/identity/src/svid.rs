//! Issued credentials, as their holder has them.

use std::fmt;
use std::sync::Arc;

use crate::{SpiffeId, Timestamp};

/// A private key in PKCS#8 DER. `Debug` never shows it; the owner of the last
/// copy wipes it (see crate `keys` for the storage that does).
#[derive(Clone)]
pub struct PrivateKeyDer(Arc<[u8]>);

impl PrivateKeyDer {
    /// Wraps PKCS#8 bytes.
    #[must_use]
    pub fn new(pkcs8: &[u8]) -> Self {
        Self(pkcs8.into())
    }

    /// The PKCS#8 bytes: handle with care.
    #[must_use]
    pub fn secret_pkcs8(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyDer(..)")
    }
}

/// An X.509-SVID: certificates, leaf first, without the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Svid {
    /// The identity, equal to the leaf's URI SAN.
    pub spiffe_id: SpiffeId,
    /// DER certificates, leaf first, intermediates after.
    pub chain: Vec<Arc<[u8]>>,
    /// Start of the leaf's validity.
    pub not_before: Timestamp,
    /// End of the leaf's validity.
    pub not_after: Timestamp,
}

/// A JWT-SVID in compact form. `Debug` never shows the token.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSvid {
    /// The identity, equal to `sub`.
    pub spiffe_id: SpiffeId,
    /// The compact serialisation: a bearer secret.
    pub token: Arc<str>,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
    /// The key that signed it.
    pub key_id: Arc<str>,
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid")
            .field("spiffe_id", &self.spiffe_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
