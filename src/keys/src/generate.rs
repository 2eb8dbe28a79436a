//! New private keys. ECDSA comes from ring; RSA from crate `rsa`, since ring
//! cannot generate it. `rsa` is used for nothing else: no signature and no
//! decryption passes through it.

use ring::rand::SecureRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
};
use rsa::pkcs8::EncodePrivateKey as _;
use rsa::rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::{KeyType, MemorySigner, PublicKey, Signer as _};

/// Why a private key could not be made or read. Never holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The source of randomness failed: nothing was made.
    #[error("the source of randomness failed; no key was made")]
    NoRandomness,
    /// The bytes are not a PKCS#8 private key of a known type.
    #[error("private key is not PKCS#8 of an ECDSA P-256, ECDSA P-384, RSA 2048 or RSA 4096 key")]
    Encoding,
    /// The key contradicts itself, such as a public half of another key.
    #[error("private key is inconsistent: {0}")]
    Inconsistent(&'static str),
}

/// Makes a key pair for a leaf: PKCS#8 DER, wiped when dropped, and the public half.
///
/// RSA takes a good fraction of a second or, for 4096 bits, several: callers on
/// an async runtime run it where blocking is allowed.
///
/// # Errors
/// [`KeyError::NoRandomness`] when `rng` fails.
pub fn generate_pkcs8(
    key_type: KeyType,
    rng: &dyn SecureRandom,
) -> Result<(Zeroizing<Vec<u8>>, PublicKey), KeyError> {
    let pkcs8 = secret(key_type, rng)?;
    // Reading it back proves that the bytes are a usable key, and yields the
    // public half by an implementation other than the one that made an RSA key.
    let public_key = MemorySigner::from_pkcs8(&pkcs8)?.public_key().clone();
    Ok((pkcs8, public_key))
}

pub(crate) fn secret(
    key_type: KeyType,
    rng: &dyn SecureRandom,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let bits = match key_type {
        KeyType::EcP256 => return ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, rng),
        KeyType::EcP384 => return ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, rng),
        KeyType::Rsa2048 => 2048,
        KeyType::Rsa4096 => 4096,
    };
    let key = rsa::PrivateKey::new(&mut Source(rng), bits).or(Err(KeyError::NoRandomness))?;
    let document = key
        .to_pkcs8_der()
        .or(Err(KeyError::Inconsistent("it cannot be encoded")))?;
    Ok(Zeroizing::new(document.as_bytes().to_vec()))
}

fn ecdsa(
    algorithm: &'static ring::signature::EcdsaSigningAlgorithm,
    rng: &dyn SecureRandom,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, rng).or(Err(KeyError::NoRandomness))?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

/// ring's randomness in the shape crate `rsa` asks for. A failure is an error
/// there too, never zeros.
struct Source<'a>(&'a dyn SecureRandom);

/// The source of randomness failed.
#[derive(Debug, thiserror::Error)]
#[error("the source of randomness failed")]
struct Failed;

impl TryRng for Source<'_> {
    type Error = Failed;

    fn try_next_u32(&mut self) -> Result<u32, Failed> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Failed> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Failed> {
        self.0.fill(destination).or(Err(Failed))
    }
}

impl TryCryptoRng for Source<'_> {}
