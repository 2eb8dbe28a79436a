//! Public keys of presented certificates: which are worth any work, and whether one
//! of them made a signature.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, UnparsedPublicKey, VerificationAlgorithm,
};
use rsa::pss;
use rsa::sha2::Sha256;
use rsa::signature::Verifier as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::MAX_RSA_BITS;
use crate::wire::{EcdsaSignature, RsaSignature};

const MIN_RSA_BITS: usize = 2048;
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// A key that may prove something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKeyKind {
    Rsa { modulus: Vec<u8> },
    P256 { point: Vec<u8> },
    P384 { point: Vec<u8> },
}

/// Reads a key and holds its size to the bounds; does nothing that costs.
pub(crate) fn read(spki: &SubjectPublicKeyInfo<'_>) -> Result<NodeKeyKind, &'static str> {
    let parsed = spki.parsed();
    match parsed.map_err(|_unreadable| "a certificate's public key cannot be read")? {
        PublicKey::RSA(rsa) => {
            let modulus = without_zeros(rsa.modulus);
            let bits = modulus.len() * 8;
            if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                return Err("a certificate's RSA key has not 2048 to 4096 bits");
            }
            if without_zeros(rsa.exponent) != RSA_EXPONENT {
                return Err("a certificate's RSA key has an exponent other than 65537");
            }
            Ok(NodeKeyKind::Rsa {
                modulus: modulus.to_vec(),
            })
        }
        PublicKey::EC(point) => match point.data().len() {
            65 => Ok(NodeKeyKind::P256 {
                point: point.data().to_vec(),
            }),
            97 => Ok(NodeKeyKind::P384 {
                point: point.data().to_vec(),
            }),
            _ => Err("a certificate's EC key is on neither P-256 nor P-384"),
        },
        _ => Err("a certificate's key is neither RSA nor EC"),
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

impl NodeKeyKind {
    /// Whether the key made this signature over the message.
    pub(crate) fn verifies_rsa(&self, message: &[u8], signature: &RsaSignature) -> bool {
        let Self::Rsa { modulus } = self else {
            return false;
        };
        let n = rsa::BoxedUint::from_be_slice_vartime(modulus);
        let e = rsa::BoxedUint::from_be_slice_vartime(RSA_EXPONENT);
        let Ok(key) = rsa::PublicKey::new(n, e) else {
            return false;
        };
        let Ok(signature) = pss::Signature::try_from(signature.signature.0.as_slice()) else {
            return false;
        };
        // Stock agents salt with as much as fits; ring accepts one length only.
        let verifier = pss::VerifyingKey::<Sha256>::new_with_auto_salt_len(key);
        verifier.verify(message, &signature).is_ok()
    }

    /// Whether the key made this signature over the message.
    pub(crate) fn verifies_ecdsa(&self, message: &[u8], signature: &EcdsaSignature) -> bool {
        let (algorithm, point): (&dyn VerificationAlgorithm, _) = match self {
            Self::Rsa { .. } => return false,
            Self::P256 { point } => (&ECDSA_P256_SHA256_ASN1, point),
            Self::P384 { point } => (&ECDSA_P384_SHA256_ASN1, point),
        };
        let Some(der) = der_signature(&signature.r.0, &signature.s.0) else {
            return false;
        };
        let key = UnparsedPublicKey::new(algorithm, point);
        key.verify(message, &der).is_ok()
    }
}

/// `SEQUENCE { r INTEGER, s INTEGER }`. Both numbers have at most 48 bytes, so every
/// length fits one byte.
fn der_signature(r: &[u8], s: &[u8]) -> Option<Vec<u8>> {
    let mut numbers = Vec::with_capacity(104);
    for number in [r, s] {
        let number = without_zeros(number);
        if number.is_empty() || number.len() > 48 {
            return None;
        }
        let sign = number.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = number.len() + usize::from(sign);
        numbers.extend([0x02, u8::try_from(length).ok()?]);
        numbers.extend(sign.then_some(0));
        numbers.extend(number);
    }
    let mut der = vec![0x30, u8::try_from(numbers.len()).ok()?];
    der.extend(numbers);
    Some(der)
}
