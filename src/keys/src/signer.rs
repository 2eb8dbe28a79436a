//! The one trait behind which every signing key lives.

use std::borrow::Cow;

use crate::PublicKey;

/// A key that can sign. Implementations may be local or far away; callers on an
/// async runtime run a remote one ([`Signer::is_remote`]) where blocking is allowed.
pub trait Signer: Send + Sync {
    /// The public half. Never changes during the life of a signer.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` (hashing is part of it). ECDSA signatures are ASN.1 DER
    /// (`Ecdsa-Sig-Value`), P-256 with SHA-256 and P-384 with SHA-384; RSA is
    /// PKCS#1 v1.5 with SHA-256, as long as the modulus.
    ///
    /// # Errors
    /// [`SignError::Unavailable`] when trying again may help,
    /// [`SignError::Refused`] when it cannot.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Whether signing leaves this process, so that it may block for long and
    /// its answer deserves to be verified.
    fn is_remote(&self) -> bool {
        false
    }
}

/// Why nothing was signed. The text never holds key material or the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key cannot be reached now; the same call may succeed later.
    #[error("signing key is unavailable: {0}")]
    Unavailable(Cow<'static, str>),
    /// The key exists but will not or cannot make this signature.
    #[error("signing was refused: {0}")]
    Refused(Cow<'static, str>),
}
