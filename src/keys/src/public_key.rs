//! The public half of a signing key.

use std::fmt;
use std::sync::Arc;

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use crate::KeyType;
use crate::spki::{self, Numbers, SpkiError};

/// A public key of one of the product's [`KeyType`]s. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    key_type: KeyType,
    spki: Arc<[u8]>,
}

/// A signature that does not fit its message and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo, strictly.
    ///
    /// # Errors
    /// When it is not a key of one of the [`KeyType`]s (RSA of 2048 or 4096 bits only).
    pub fn from_spki(spki: &[u8]) -> Result<Self, SpkiError> {
        let key_type = match spki::parse(spki)? {
            Numbers::EcP256 { .. } => KeyType::EcP256,
            Numbers::EcP384 { .. } => KeyType::EcP384,
            Numbers::Rsa { n, .. } if n.len() == 256 => KeyType::Rsa2048,
            Numbers::Rsa { n, .. } if n.len() == 512 => KeyType::Rsa4096,
            Numbers::Rsa { n, .. } => return Err(SpkiError::RsaSize { bits: n.len() * 8 }),
        };
        Ok(Self {
            key_type,
            spki: spki.into(),
        })
    }

    /// The kind of key.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Checks a signature made by [`crate::Signer::sign`] of this key.
    ///
    /// # Errors
    /// [`BadSignature`], with no further detail.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let algorithm: &dyn VerificationAlgorithm = match self.key_type {
            KeyType::EcP256 => &signature::ECDSA_P256_SHA256_ASN1,
            KeyType::EcP384 => &signature::ECDSA_P384_SHA384_ASN1,
            KeyType::Rsa2048 | KeyType::Rsa4096 => &signature::RSA_PKCS1_2048_8192_SHA256,
        };
        let key = spki::raw_key(&self.spki).ok_or(BadSignature)?;
        UnparsedPublicKey::new(algorithm, key)
            .verify(message, signature)
            .or(Err(BadSignature))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_type)
    }
}
