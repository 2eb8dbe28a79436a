//! jsonwebtoken's cryptography, done by ring.
//!
//! jsonwebtoken takes its provider from the process, once. This one verifies the
//! JWS algorithms a JWT-SVID may have, except ES512, which ring does not know; it
//! signs nothing. Should a program have installed another provider before, that
//! one is used: it was the program's choice.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{EllipticCurve, ThumbprintHash};
use jsonwebtoken::signature;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::signature::{self as ring_signature, UnparsedPublicKey, VerificationAlgorithm};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    // These serve jsonwebtoken's own JWK types, which nothing here uses; errors
    // in place of its dummies, which panic.
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: no_ec_components,
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: no_digest,
    },
};

/// Installs the provider for this process unless there is one.
pub(crate) fn ensure() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error says that another provider is in place, which is fine.
        let _ = RING.install_default();
    });
}

fn unsupported() -> Error {
    ErrorKind::InvalidAlgorithm.into()
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(unsupported())
}

fn no_ec_components(_: &[u8], _: Algorithm) -> Result<(EllipticCurve, Vec<u8>, Vec<u8>), Error> {
    Err(unsupported())
}

fn no_digest(_: &[u8], _: ThumbprintHash) -> Result<Vec<u8>, Error> {
    Err(unsupported())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let (family, with): (_, &'static dyn VerificationAlgorithm) = match algorithm {
        Algorithm::ES256 => (
            AlgorithmFamily::Ec,
            &ring_signature::ECDSA_P256_SHA256_FIXED,
        ),
        Algorithm::ES384 => (
            AlgorithmFamily::Ec,
            &ring_signature::ECDSA_P384_SHA384_FIXED,
        ),
        Algorithm::RS256 => (
            AlgorithmFamily::Rsa,
            &ring_signature::RSA_PKCS1_2048_8192_SHA256,
        ),
        Algorithm::RS384 => (
            AlgorithmFamily::Rsa,
            &ring_signature::RSA_PKCS1_2048_8192_SHA384,
        ),
        Algorithm::RS512 => (
            AlgorithmFamily::Rsa,
            &ring_signature::RSA_PKCS1_2048_8192_SHA512,
        ),
        Algorithm::PS256 => (
            AlgorithmFamily::Rsa,
            &ring_signature::RSA_PSS_2048_8192_SHA256,
        ),
        Algorithm::PS384 => (
            AlgorithmFamily::Rsa,
            &ring_signature::RSA_PSS_2048_8192_SHA384,
        ),
        Algorithm::PS512 => (
            AlgorithmFamily::Rsa,
            &ring_signature::RSA_PSS_2048_8192_SHA512,
        ),
        _ => return Err(unsupported()),
    };
    if key.family() != family {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    let key = key.try_get_as_bytes()?.to_vec();
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        key: UnparsedPublicKey::new(with, key),
    }))
}

struct RingVerifier {
    algorithm: Algorithm,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl signature::Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.key
            .verify(message, signature)
            .or(Err(signature::Error::new()))
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
