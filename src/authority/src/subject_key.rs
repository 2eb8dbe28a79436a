//! The public key a credential is issued for: the one thing a requester contributes.

use std::fmt;
use std::sync::Arc;

use keys::spki::{self, Numbers, SpkiError};
use ring::digest::{SHA256, digest};

use crate::csr;

/// A public key fit for a leaf: ECDSA P-256 or P-384 with its point on the curve,
/// or RSA of 2048 to 4096 bits with exponent 65537. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectKey {
    spki: Arc<[u8]>,
    key_id: [u8; 20],
    rsa: bool,
}

/// Why a public key or CSR is refused, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRefused {
    /// The key itself.
    #[error(transparent)]
    Key(#[from] SpkiError),
    /// More bytes than any sensible CSR has.
    #[error("certificate request has {0} bytes; at most {max} are allowed", max = csr::MAX_CSR_BYTES)]
    CsrTooLarge(usize),
    /// Not the DER of a PKCS#10 request, or with bytes left over.
    #[error(
        "certificate request is not one DER-encoded PKCS#10 request ({0}); send DER, not PEM, and nothing after it"
    )]
    CsrEncoding(&'static str),
    /// Signed with something weak or unknown.
    #[error(
        "certificate request is signed with an algorithm that is not accepted for its key; use ECDSA with SHA-256 or SHA-384, or RSA PKCS#1 v1.5 with SHA-256, SHA-384 or SHA-512"
    )]
    CsrAlgorithm,
    /// The requester did not prove that it holds the private key.
    #[error(
        "certificate request's signature does not verify with the key in it; sign the request with that key"
    )]
    CsrSignature,
}

impl SubjectKey {
    /// Takes a DER SubjectPublicKeyInfo for which an authenticated agent vouches:
    /// whoever calls this has decided that no proof of possession is needed.
    ///
    /// # Errors
    /// When the key is of a kind, size or encoding that is not allowed.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyRefused> {
        let rsa = matches!(spki::parse(der)?, Numbers::Rsa { .. });
        Ok(Self::checked(der, rsa))
    }

    /// Takes the public key out of a PKCS#10 request (RFC 2986) after verifying the
    /// proof of possession. Nothing else of the request is used or even parsed: a
    /// subject, names, a CA flag or extensions in it have no effect.
    ///
    /// # Errors
    /// When the request is malformed, its signature does not verify, or its key
    /// is not allowed.
    pub fn from_csr(der: &[u8]) -> Result<Self, KeyRefused> {
        let request = csr::read(der)?;
        let numbers = spki::parse(request.spki)?;
        csr::verify(&request, &numbers)?;
        Ok(Self::checked(
            request.spki,
            matches!(numbers, Numbers::Rsa { .. }),
        ))
    }

    fn checked(der: &[u8], rsa: bool) -> Self {
        let mut key_id = [0; 20];
        for (to, from) in key_id.iter_mut().zip(digest(&SHA256, der).as_ref()) {
            *to = *from;
        }
        Self {
            spki: der.into(),
            key_id,
            rsa,
        }
    }

    /// DER SubjectPublicKeyInfo, exactly as received.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The key identifier: the first 20 bytes of the SHA-256 of the
    /// SubjectPublicKeyInfo (RFC 7093 section 2, method 4, truncated).
    #[must_use]
    pub const fn key_id(&self) -> &[u8; 20] {
        &self.key_id
    }

    /// Whether it is an RSA key.
    #[must_use]
    pub const fn is_rsa(&self) -> bool {
        self.rsa
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(")?;
        self.key_id.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}
