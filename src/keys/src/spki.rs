//! SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) of the key types in use:
//! one strict reader and one writer, shared by whoever meets a public key.

use crate::der::{self, BIT_STRING, INTEGER, SEQUENCE};
use crate::on_curve;

/// The largest SubjectPublicKeyInfo looked at: RSA with 4096 bits needs 550 bytes.
pub const MAX_SPKI_BYTES: usize = 1024;

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { 04 ...` (RFC 5480).
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// The same with secp384r1.
const P384_PREFIX: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
];
/// `SEQUENCE { rsaEncryption, NULL }` (RFC 3279 section 2.3.1).
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// The numbers a public key consists of, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers<'a> {
    /// A point of P-256, checked to be on the curve.
    EcP256 {
        /// The x coordinate.
        x: &'a [u8; 32],
        /// The y coordinate.
        y: &'a [u8; 32],
    },
    /// A point of P-384, checked to be on the curve.
    EcP384 {
        /// The x coordinate.
        x: &'a [u8; 48],
        /// The y coordinate.
        y: &'a [u8; 48],
    },
    /// An RSA key of 2048 to 4096 bits with exponent 65537.
    Rsa {
        /// The modulus without leading zeros.
        n: &'a [u8],
        /// The exponent without leading zeros.
        e: &'a [u8],
    },
}

/// Why bytes are not a public key this product works with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpkiError {
    /// Not the DER of a SubjectPublicKeyInfo, or with bytes left over.
    #[error("public key is not a DER SubjectPublicKeyInfo, or bytes follow it")]
    Encoding,
    /// An algorithm or curve outside the allow-list.
    #[error(
        "public key is {found}; use ECDSA P-256 (recommended), ECDSA P-384 or RSA 2048 to 4096"
    )]
    Algorithm {
        /// What it is, as far as it is known.
        found: &'static str,
    },
    /// The point does not lie on its curve.
    #[error("public key is not a point of its curve; generate a new key")]
    NotOnCurve,
    /// The point is written in compressed form.
    #[error("public key is a compressed point; encode it uncompressed (first byte 04)")]
    Compressed,
    /// The RSA modulus has the wrong size.
    #[error("RSA key has {bits} bits; 2048 to 4096 are allowed")]
    RsaSize {
        /// The size found.
        bits: usize,
    },
    /// The RSA exponent is unusual, or the modulus even.
    #[error("RSA key is unsafe: {what}; generate a new key with exponent 65537")]
    RsaUnsafe {
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Reads a SubjectPublicKeyInfo: nothing but canonical DER of an allowed key
/// passes, and no byte may follow.
///
/// # Errors
/// Says what is wrong, and what to use instead.
pub fn parse(spki: &[u8]) -> Result<Numbers<'_>, SpkiError> {
    if spki.len() > MAX_SPKI_BYTES {
        return Err(SpkiError::Encoding);
    }
    if let Some((x, y)) = spki.strip_prefix(&P256_PREFIX).and_then(halves::<32>) {
        on_curve::p256(x, y)
            .then_some(Numbers::EcP256 { x, y })
            .ok_or(SpkiError::NotOnCurve)
    } else if let Some((x, y)) = spki.strip_prefix(&P384_PREFIX).and_then(halves::<48>) {
        on_curve::p384(x, y)
            .then_some(Numbers::EcP384 { x, y })
            .ok_or(SpkiError::NotOnCurve)
    } else {
        rsa(spki).unwrap_or_else(|| Err(diagnose(spki)))
    }
}

/// Writes the SubjectPublicKeyInfo of a key.
#[must_use]
pub fn encode(numbers: &Numbers<'_>) -> Vec<u8> {
    match numbers {
        Numbers::EcP256 { x, y } => [P256_PREFIX.as_slice(), x.as_slice(), y.as_slice()].concat(),
        Numbers::EcP384 { x, y } => [P384_PREFIX.as_slice(), x.as_slice(), y.as_slice()].concat(),
        Numbers::Rsa { n, e } => {
            let mut key = Vec::with_capacity(n.len() + 16);
            let mut pair = Vec::with_capacity(n.len() + 16);
            der::put_unsigned(&mut pair, n);
            der::put_unsigned(&mut pair, e);
            key.push(0);
            der::put(&mut key, SEQUENCE, &pair);
            let mut content = RSA_ALGORITHM.to_vec();
            der::put(&mut content, BIT_STRING, &key);
            let mut out = Vec::with_capacity(content.len() + 8);
            der::put(&mut out, SEQUENCE, &content);
            out
        }
    }
}

/// Writes the SubjectPublicKeyInfo of an uncompressed point (`04`, x, y) of P-256
/// or P-384, by its length. Whether it lies on its curve is for the reader to check.
#[must_use]
pub fn from_point(point: &[u8]) -> Option<Vec<u8>> {
    let coordinates = point.strip_prefix(&[4])?;
    let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
    if let (Ok(x), Ok(y)) = (x.try_into(), y.try_into()) {
        return Some(encode(&Numbers::EcP256 { x, y }));
    }
    Some(encode(&Numbers::EcP384 {
        x: x.try_into().ok()?,
        y: y.try_into().ok()?,
    }))
}

/// Checks an RSA modulus and exponent (big-endian, no leading zeros).
///
/// # Errors
/// As [`parse`].
pub fn check_rsa<'a>(n: &'a [u8], e: &'a [u8]) -> Result<Numbers<'a>, SpkiError> {
    let top = n.first().copied().unwrap_or_default();
    let bits = (n.len() * 8).saturating_sub(top.leading_zeros() as usize);
    if !(2048..=4096).contains(&bits) {
        return Err(SpkiError::RsaSize { bits });
    }
    if e != [1, 0, 1] {
        return Err(SpkiError::RsaUnsafe {
            what: "its exponent is not 65537",
        });
    }
    if n.last().is_none_or(|b| b & 1 == 0) {
        return Err(SpkiError::RsaUnsafe {
            what: "its modulus is even",
        });
    }
    Ok(Numbers::Rsa { n, e })
}

/// Checks a point of P-256 that did not come in a SubjectPublicKeyInfo.
#[must_use]
pub fn is_on_p256(x: &[u8; 32], y: &[u8; 32]) -> bool {
    on_curve::p256(x, y)
}

/// Checks a point of P-384 that did not come in a SubjectPublicKeyInfo.
#[must_use]
pub fn is_on_p384(x: &[u8; 48], y: &[u8; 48]) -> bool {
    on_curve::p384(x, y)
}

fn halves<const N: usize>(point: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
    let (x, y) = point.split_at_checked(N)?;
    Some((x.try_into().ok()?, y.try_into().ok()?))
}

/// `None` when it is no RSA key at all.
fn rsa(spki: &[u8]) -> Option<Result<Numbers<'_>, SpkiError>> {
    let (content, rest) = der::take(spki, SEQUENCE)?;
    let bits = content.strip_prefix(&RSA_ALGORITHM)?;
    let read = || {
        let (key, after_key) = der::take(bits, BIT_STRING)?;
        let (pair, after_pair) = der::take(key.strip_prefix(&[0])?, SEQUENCE)?;
        let (n, exponent) = der::take(pair, INTEGER)?;
        let (e, end) = der::take(exponent, INTEGER)?;
        let clean = [rest, after_key, after_pair, end]
            .iter()
            .all(|r| r.is_empty());
        clean.then(|| (der::strip_zeros(n), der::strip_zeros(e)))
    };
    let Some((n, e)) = read() else {
        return Some(Err(SpkiError::Encoding));
    };
    Some(check_rsa(n, e).and_then(|numbers| {
        // Reading drops any number of leading zeros; writing puts none but the needed.
        let canonical = encode(&numbers) == spki;
        canonical.then_some(numbers).ok_or(SpkiError::Encoding)
    }))
}

/// Names what was found instead of an allowed key.
fn diagnose(spki: &[u8]) -> SpkiError {
    const NAMES: [(&[u8], &str); 9] = [
        (&[0x2b, 0x81, 0x04, 0x00, 0x21], "ECDSA P-224"),
        (
            &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01],
            "ECDSA P-192",
        ),
        (&[0x2b, 0x81, 0x04, 0x00, 0x23], "ECDSA P-521"),
        (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "ECDSA secp256k1"),
        (&[0x2b, 0x65, 0x70], "Ed25519"),
        (&[0x2b, 0x65, 0x71], "Ed448"),
        (&[0x2b, 0x65, 0x6e], "X25519"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
        (
            &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a],
            "RSASSA-PSS",
        ),
    ];
    const EC: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const P384: [u8; 5] = [0x2b, 0x81, 0x04, 0x00, 0x22];
    let Some((algorithm, after)) = der::take(spki, SEQUENCE)
        .filter(|(_, rest)| rest.is_empty())
        .and_then(|(content, _)| der::take(content, SEQUENCE))
    else {
        return SpkiError::Encoding;
    };
    let oids = || {
        let (first, rest) = der::take(algorithm, 0x06)?;
        Some((first, der::take(rest, 0x06).map(|(oid, _)| oid)))
    };
    let Some((first, second)) = oids() else {
        return SpkiError::Encoding;
    };
    if first == EC && second.is_some_and(|curve| curve == P256 || curve == P384) {
        let form = der::take(after, BIT_STRING).and_then(|(bits, _)| bits.get(1).copied());
        return match form {
            Some(2 | 3) => SpkiError::Compressed,
            _ => SpkiError::Encoding,
        };
    }
    let named = NAMES
        .iter()
        .find(|(oid, _)| first == *oid || second == Some(*oid));
    SpkiError::Algorithm {
        found: named.map_or("of an unknown kind", |(_, name)| name),
    }
}

/// The content of the BIT STRING: an uncompressed point, or `RSAPublicKey` DER.
#[must_use]
pub fn raw_key(spki: &[u8]) -> Option<&[u8]> {
    let (content, _) = der::take(spki, SEQUENCE)?;
    let (_, after) = der::take(content, SEQUENCE)?;
    let (bits, _) = der::take(after, BIT_STRING)?;
    bits.strip_prefix(&[0])
}
