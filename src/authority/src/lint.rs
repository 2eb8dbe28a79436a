//! Reads a leaf back, byte by byte, and compares it with what was meant.
//!
//! It shares no offsets with the template: it walks the DER as a stranger would.
//! It runs before anything is recorded, and again on the assembled certificate.

use keys::der::{self, BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE};

use crate::signature::algorithm_identifier;
use crate::template::Leaf;
use crate::x509::Issuer;

/// A rule that a certificate broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lint {
    /// Not the DER it should be, or with bytes left over.
    #[error("its encoding is wrong")]
    Encoding,
    /// Not version 3.
    #[error("it is not of version 3")]
    Version,
    /// Another serial number.
    #[error("its serial number is another")]
    Serial,
    /// The algorithm is not that of the authority's key, or differs inside and out.
    #[error("its signature algorithm is not the authority's")]
    Algorithm,
    /// Another issuer.
    #[error("its issuer is another")]
    Issuer,
    /// Other times.
    #[error("its validity is another")]
    Validity,
    /// An empty or unexpected subject.
    #[error("its subject is another")]
    Subject,
    /// Another public key.
    #[error("its public key is another")]
    PublicKey,
    /// An extension that is missing, repeated, unknown or of the wrong criticality.
    #[error("its extensions are not exactly those of the profile")]
    Extensions,
    /// Other names.
    #[error("its alternative names are not exactly those asked for")]
    Names,
    /// Key usage, extended key usage or basic constraints say something else.
    #[error("its permitted uses are not those of a leaf")]
    Uses,
    /// Key identifiers of other keys.
    #[error("its key identifiers are others")]
    KeyId,
}

/// Extension OIDs below id-ce (2.5.29).
const SUBJECT_KEY_ID: u8 = 14;
const KEY_USAGE: u8 = 15;
const ALTERNATIVE_NAME: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;
const AUTHORITY_KEY_ID: u8 = 35;
const EXTENDED_KEY_USAGE: u8 = 37;

/// Checks a whole certificate: its signed part, and that nothing but the right
/// algorithm and one signature follows. The signature itself is not verified here.
pub(crate) fn certificate(der: &[u8], issuer: &Issuer, leaf: &Leaf) -> Result<(), Lint> {
    let content = only(der, SEQUENCE)?;
    let (tbs, rest) = der::take_whole(content, SEQUENCE).ok_or(Lint::Encoding)?;
    let rest = rest
        .strip_prefix(algorithm_identifier(issuer.public_key.key_type()))
        .ok_or(Lint::Algorithm)?;
    only(rest, BIT_STRING)?
        .strip_prefix(&[0])
        .ok_or(Lint::Encoding)?;
    to_be_signed(tbs, issuer, leaf)
}

/// Checks a TBSCertificate.
pub(crate) fn to_be_signed(tbs: &[u8], issuer: &Issuer, leaf: &Leaf) -> Result<(), Lint> {
    let content = only(tbs, SEQUENCE)?;
    let (version, rest) = der::take(content, 0xa0).ok_or(Lint::Version)?;
    if version != [0x02, 0x01, 0x02] {
        return Err(Lint::Version);
    }
    let (serial, rest) = der::take(rest, INTEGER).ok_or(Lint::Serial)?;
    if serial != leaf.serial.as_bytes() || serial.first().is_none_or(|b| *b == 0 || *b > 127) {
        return Err(Lint::Serial);
    }
    let rest = rest
        .strip_prefix(algorithm_identifier(issuer.public_key.key_type()))
        .ok_or(Lint::Algorithm)?;
    let rest = rest.strip_prefix(&issuer.name[..]).ok_or(Lint::Issuer)?;
    let (validity, rest) = der::take(rest, SEQUENCE).ok_or(Lint::Validity)?;
    check_validity(validity, leaf)?;
    let (subject, rest) = der::take(rest, SEQUENCE).ok_or(Lint::Subject)?;
    check_subject(subject, leaf)?;
    let rest = rest
        .strip_prefix(leaf.key.spki_der())
        .ok_or(Lint::PublicKey)?;
    check_extensions(only(only(rest, 0xa3)?, SEQUENCE)?, issuer, leaf)
}

/// The content of an element after which nothing follows.
fn only(input: &[u8], tag: u8) -> Result<&[u8], Lint> {
    match der::take(input, tag) {
        Some((content, [])) => Ok(content),
        _ => Err(Lint::Encoding),
    }
}

fn check_validity(validity: &[u8], leaf: &Leaf) -> Result<(), Lint> {
    let (Some(begin), Some(end)) = (
        crate::time::encode(leaf.not_before),
        crate::time::encode(leaf.not_after),
    ) else {
        return Err(Lint::Validity);
    };
    let same = validity
        .strip_prefix(begin.as_bytes())
        .is_some_and(|rest| rest == end.as_bytes());
    (same && leaf.not_before < leaf.not_after)
        .then_some(())
        .ok_or(Lint::Validity)
}

/// Country, organisation and, when there is one, the common name; never empty,
/// so that the alternative name need not be critical.
fn check_subject(subject: &[u8], leaf: &Leaf) -> Result<(), Lint> {
    let mut rest = subject;
    for (attribute, value) in [
        (6, Some("US")),
        (10, Some("SPIRE")),
        (3, leaf.common_name()),
    ] {
        let Some(value) = value else { continue };
        let (set, after) = der::take(rest, 0x31).ok_or(Lint::Subject)?;
        let (oid, text) = der::take(only(set, SEQUENCE)?, OID).ok_or(Lint::Subject)?;
        let tag = if attribute == 3 { 0x0c } else { 0x13 };
        if oid != [0x55, 0x04, attribute] || only(text, tag)? != value.as_bytes() {
            return Err(Lint::Subject);
        }
        rest = after;
    }
    rest.is_empty().then_some(()).ok_or(Lint::Subject)
}

fn check_extensions(mut rest: &[u8], issuer: &Issuer, leaf: &Leaf) -> Result<(), Lint> {
    let mut seen = 0_u8;
    while !rest.is_empty() {
        let (extension, after) = der::take(rest, SEQUENCE).ok_or(Lint::Extensions)?;
        let (oid, body) = der::take(extension, OID).ok_or(Lint::Extensions)?;
        let [0x55, 0x1d, number] = *oid else {
            return Err(Lint::Extensions);
        };
        let (critical, body) = match body.strip_prefix(&[0x01, 0x01, 0xff]) {
            Some(body) => (true, body),
            None => (false, body),
        };
        let bit = check_extension(number, critical, only(body, OCTET_STRING)?, issuer, leaf)?;
        if seen & bit != 0 {
            return Err(Lint::Extensions);
        }
        seen |= bit;
        rest = after;
    }
    (seen == 0b11_1111).then_some(()).ok_or(Lint::Extensions)
}

/// Checks one extension and says which it was, as a bit.
fn check_extension(
    number: u8,
    critical: bool,
    value: &[u8],
    issuer: &Issuer,
    leaf: &Leaf,
) -> Result<u8, Lint> {
    let (bit, should_be_critical, right, fault) = match number {
        AUTHORITY_KEY_ID => {
            let id = only(only(value, SEQUENCE)?, 0x80)?;
            (1, false, id == &issuer.key_id[..], Lint::KeyId)
        }
        SUBJECT_KEY_ID => {
            let id = only(value, OCTET_STRING)?;
            (1 << 1, false, id == leaf.key.key_id(), Lint::KeyId)
        }
        ALTERNATIVE_NAME => (1 << 2, false, same_names(value, leaf)?, Lint::Names),
        KEY_USAGE => {
            // digitalSignature and keyEncipherment; for EC keys keyAgreement too.
            let wanted = if leaf.key.is_rsa() {
                [5, 0xa0]
            } else {
                [3, 0xa8]
            };
            let bits = only(value, BIT_STRING)?;
            (1 << 3, true, bits == wanted, Lint::Uses)
        }
        EXTENDED_KEY_USAGE => (1 << 4, false, is_server_and_client(value)?, Lint::Uses),
        BASIC_CONSTRAINTS => {
            let empty = only(value, SEQUENCE)?.is_empty();
            (1 << 5, true, empty, Lint::Uses)
        }
        _ => return Err(Lint::Extensions),
    };
    match (critical == should_be_critical, right) {
        (false, _) => Err(Lint::Extensions),
        (true, false) => Err(fault),
        (true, true) => Ok(bit),
    }
}

fn same_names(value: &[u8], leaf: &Leaf) -> Result<bool, Lint> {
    let mut rest = only(value, SEQUENCE)?;
    for (tag, wanted) in leaf.names() {
        match der::take(rest, tag) {
            Some((name, after)) if name == wanted.as_bytes() => rest = after,
            _ => return Ok(false),
        }
    }
    Ok(rest.is_empty())
}

fn is_server_and_client(value: &[u8]) -> Result<bool, Lint> {
    const KP: [u8; 7] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];
    let (first, rest) = der::take(only(value, SEQUENCE)?, OID).ok_or(Lint::Uses)?;
    let second = only(rest, OID)?;
    Ok(first.strip_prefix(&KP) == Some(&[1]) && second.strip_prefix(&KP) == Some(&[2]))
}

#[cfg(test)]
mod tests;
