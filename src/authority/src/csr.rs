//! PKCS#10 requests (RFC 2986), read for two things only: the key and the proof
//! that the requester holds it.
//!
//! A reader of its own, because libraries that turn a request into certificate
//! parameters copy what the requester asked for, and take the key's algorithm
//! from the signature's. Here attributes are skipped unread.

use keys::der::{self, BIT_STRING, INTEGER, OID, SEQUENCE};
use keys::spki::{self, Numbers};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use crate::KeyRefused;

/// The largest request looked at, in bytes.
pub(crate) const MAX_CSR_BYTES: usize = 16 * 1024;

const ATTRIBUTES: u8 = 0xa0;
const ECDSA_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const RSA_SHA256: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_SHA384: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const RSA_SHA512: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];

/// The parts of a request that count.
pub(crate) struct Request<'a> {
    /// The signed part, header included.
    signed: &'a [u8],
    /// DER SubjectPublicKeyInfo.
    pub(crate) spki: &'a [u8],
    /// The signature algorithm's OID content.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

/// Splits a request into its parts.
pub(crate) fn read(input: &[u8]) -> Result<Request<'_>, KeyRefused> {
    if input.len() > MAX_CSR_BYTES {
        return Err(KeyRefused::CsrTooLarge(input.len()));
    }
    let (content, rest) =
        der::take(input, SEQUENCE).ok_or(KeyRefused::CsrEncoding("no outer sequence"))?;
    if !rest.is_empty() {
        return Err(KeyRefused::CsrEncoding("bytes follow it"));
    }
    let (signed, after) =
        der::take_whole(content, SEQUENCE).ok_or(KeyRefused::CsrEncoding("no signed part"))?;
    let (info, _) = der::take(signed, SEQUENCE).ok_or(KeyRefused::CsrEncoding("no signed part"))?;
    let (algorithm, after) =
        der::take(after, SEQUENCE).ok_or(KeyRefused::CsrEncoding("no signature algorithm"))?;
    let (bits, rest) =
        der::take(after, BIT_STRING).ok_or(KeyRefused::CsrEncoding("no signature"))?;
    if !rest.is_empty() {
        return Err(KeyRefused::CsrEncoding("bytes follow the signature"));
    }
    let (algorithm, parameters) =
        der::take(algorithm, OID).ok_or(KeyRefused::CsrEncoding("no signature algorithm"))?;
    if !matches!(parameters, [] | [0x05, 0x00]) {
        return Err(KeyRefused::CsrAlgorithm);
    }
    Ok(Request {
        signed,
        spki: key_of(info)?,
        algorithm,
        signature: bits
            .strip_prefix(&[0])
            .ok_or(KeyRefused::CsrEncoding("no signature"))?,
    })
}

/// Walks past version and subject to the key; the attributes after it are only
/// seen to be there.
fn key_of(info: &[u8]) -> Result<&[u8], KeyRefused> {
    let (version, after) = der::take(info, INTEGER).ok_or(KeyRefused::CsrEncoding("no version"))?;
    if version != [0] {
        return Err(KeyRefused::CsrEncoding("its version is not 1"));
    }
    let (_, after) = der::take(after, SEQUENCE).ok_or(KeyRefused::CsrEncoding("no subject"))?;
    let (spki, after) =
        der::take_whole(after, SEQUENCE).ok_or(KeyRefused::CsrEncoding("no public key"))?;
    if after.is_empty() {
        return Ok(spki);
    }
    match der::take(after, ATTRIBUTES) {
        Some((_, [])) => Ok(spki),
        _ => Err(KeyRefused::CsrEncoding(
            "something other than attributes follows the key",
        )),
    }
}

/// Verifies the proof of possession. The verification algorithm follows from the
/// key and the signature's OID together; a hash alone is the requester's choice.
pub(crate) fn verify(request: &Request<'_>, key: &Numbers<'_>) -> Result<(), KeyRefused> {
    let oid = request.algorithm;
    let algorithm: &dyn VerificationAlgorithm = match key {
        Numbers::EcP256 { .. } if oid == ECDSA_SHA256 => &signature::ECDSA_P256_SHA256_ASN1,
        Numbers::EcP256 { .. } if oid == ECDSA_SHA384 => &signature::ECDSA_P256_SHA384_ASN1,
        Numbers::EcP384 { .. } if oid == ECDSA_SHA256 => &signature::ECDSA_P384_SHA256_ASN1,
        Numbers::EcP384 { .. } if oid == ECDSA_SHA384 => &signature::ECDSA_P384_SHA384_ASN1,
        Numbers::Rsa { .. } if oid == RSA_SHA256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Numbers::Rsa { .. } if oid == RSA_SHA384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Numbers::Rsa { .. } if oid == RSA_SHA512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => return Err(KeyRefused::CsrAlgorithm),
    };
    let raw = spki::raw_key(request.spki).ok_or(KeyRefused::CsrEncoding("no public key"))?;
    UnparsedPublicKey::new(algorithm, raw)
        .verify(request.signed, request.signature)
        .or(Err(KeyRefused::CsrSignature))
}
