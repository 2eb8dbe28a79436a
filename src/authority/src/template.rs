//! The to-be-signed part of a leaf, put together from pre-encoded pieces.
//!
//! A general encoder costs a sixth of a signature; copying constant bytes around
//! the few that vary costs almost nothing. The price is that the bytes could be
//! wrong in ways an encoder rules out: a test holds them equal to rcgen's, and
//! every certificate is read back by [`crate::lint`] before and after signing.

use identity::{SpiffeId, Timestamp};
use keys::der::{self, OCTET_STRING, SEQUENCE, element_len};

use crate::signature::algorithm_identifier;
use crate::time::Encoded;
use crate::x509::Issuer;
use crate::{Serial, SubjectKey};

/// `[0] { INTEGER 2 }`: version 3.
const VERSION_3: [u8; 5] = [0xa0, 0x03, 0x02, 0x01, 0x02];
/// `C=US`, as SPIRE has it: some software refuses an empty subject.
const COUNTRY: [u8; 13] = [
    0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, b'U', b'S',
];
/// `O=SPIRE`.
const ORGANISATION: [u8; 16] = [
    0x31, 0x0e, 0x30, 0x0c, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x13, 0x05, b'S', b'P', b'I', b'R', b'E',
];
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
const UTF8_STRING: u8 = 0x0c;
const SET: u8 = 0x31;
const SERIAL_HEADER: [u8; 2] = [0x02, 18];
const AUTHORITY_KEY_ID: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x23];
const ALTERNATIVE_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];
const SAN_DNS: u8 = 0x82;
const SAN_URI: u8 = 0x86;
const EXTENSIONS: u8 = 0xa3;
/// Critical: digitalSignature, keyEncipherment, keyAgreement.
const KEY_USAGE_EC: [u8; 16] = [
    0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x03, 0xa8,
];
/// Critical: digitalSignature, keyEncipherment. RSA keys agree on nothing (RFC 3279 2.3.1).
const KEY_USAGE_RSA: [u8; 16] = [
    0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x05, 0xa0,
];
/// serverAuth and clientAuth.
const EXTENDED_KEY_USAGE: [u8; 31] = [
    0x30, 0x1d, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x16, 0x30, 0x14, 0x06, 0x08, 0x2b, 0x06, 0x01,
    0x05, 0x05, 0x07, 0x03, 0x01, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
];
/// The header of a subject key identifier of 20 bytes.
const SUBJECT_KEY_ID: [u8; 11] = [
    0x30, 0x1d, 0x06, 0x03, 0x55, 0x1d, 0x0e, 0x04, 0x16, 0x04, 0x14,
];
/// Critical, cA false: an empty sequence, present so that strict readers see it.
const NOT_A_CA: [u8; 14] = [
    0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00,
];

/// ub-common-name (RFC 5280 appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// What varies from leaf to leaf.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) dns_names: Vec<String>,
    pub(crate) key: SubjectKey,
    pub(crate) serial: Serial,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Leaf {
    /// The common name: the first DNS name, unless it is longer than a common
    /// name may be; the alternative name says it anyway.
    pub(crate) fn common_name(&self) -> Option<&str> {
        let first = self.dns_names.first()?;
        (first.len() <= MAX_COMMON_NAME).then_some(first)
    }

    /// General names in the order they are written: the URI first.
    pub(crate) fn names(&self) -> impl Iterator<Item = (u8, &str)> {
        std::iter::once((SAN_URI, self.spiffe_id.as_str()))
            .chain(self.dns_names.iter().map(|n| (SAN_DNS, n.as_str())))
    }
}

/// The authority key identifier extension for an issuer.
pub(crate) fn authority_key_id(key_id: &[u8]) -> Vec<u8> {
    let (mut id, mut sequence, mut body, mut out) = (vec![], vec![], vec![], vec![]);
    der::put(&mut id, 0x80, key_id);
    der::put(&mut sequence, SEQUENCE, &id);
    body.extend_from_slice(&AUTHORITY_KEY_ID);
    der::put(&mut body, OCTET_STRING, &sequence);
    der::put(&mut out, SEQUENCE, &body);
    out
}

/// Writes the TBSCertificate of a leaf.
pub(crate) fn write(issuer: &Issuer, leaf: &Leaf, begin: &Encoded, end: &Encoded) -> Vec<u8> {
    let (begin, end) = (begin.as_bytes(), end.as_bytes());
    let algorithm = algorithm_identifier(issuer.public_key.key_type());
    let spki = leaf.key.spki_der();
    let common_name = leaf.common_name();
    let names = Lengths::of_names(leaf);
    let subject = COUNTRY.len() + ORGANISATION.len() + common_name.map_or(0, common_name_len);
    let extensions = issuer.authority_key_id.len()
        + names.extension
        + KEY_USAGE_EC.len()
        + EXTENDED_KEY_USAGE.len()
        + SUBJECT_KEY_ID.len()
        + leaf.key.key_id().len()
        + NOT_A_CA.len();
    let content = VERSION_3.len()
        + SERIAL_HEADER.len()
        + leaf.serial.as_bytes().len()
        + algorithm.len()
        + issuer.name.len()
        + element_len(begin.len() + end.len())
        + element_len(subject)
        + spki.len()
        + element_len(element_len(extensions));
    let mut out = Vec::with_capacity(element_len(content));
    der::put_header(&mut out, SEQUENCE, content);
    out.extend_from_slice(&VERSION_3);
    out.extend_from_slice(&SERIAL_HEADER);
    out.extend_from_slice(leaf.serial.as_bytes());
    out.extend_from_slice(algorithm);
    out.extend_from_slice(&issuer.name);
    der::put_header(&mut out, SEQUENCE, begin.len() + end.len());
    out.extend_from_slice(begin);
    out.extend_from_slice(end);
    der::put_header(&mut out, SEQUENCE, subject);
    out.extend_from_slice(&COUNTRY);
    out.extend_from_slice(&ORGANISATION);
    if let Some(name) = common_name {
        put_common_name(&mut out, name);
    }
    out.extend_from_slice(spki);
    der::put_header(&mut out, EXTENSIONS, element_len(extensions));
    der::put_header(&mut out, SEQUENCE, extensions);
    put_extensions(&mut out, issuer, leaf, &names);
    out
}

fn put_extensions(out: &mut Vec<u8>, issuer: &Issuer, leaf: &Leaf, names: &Lengths) {
    out.extend_from_slice(&issuer.authority_key_id);
    der::put_header(out, SEQUENCE, names.extension_content);
    out.extend_from_slice(&ALTERNATIVE_NAME);
    der::put_header(out, OCTET_STRING, element_len(names.all));
    der::put_header(out, SEQUENCE, names.all);
    for (tag, name) in leaf.names() {
        der::put(out, tag, name.as_bytes());
    }
    out.extend_from_slice(if leaf.key.is_rsa() {
        &KEY_USAGE_RSA
    } else {
        &KEY_USAGE_EC
    });
    out.extend_from_slice(&EXTENDED_KEY_USAGE);
    out.extend_from_slice(&SUBJECT_KEY_ID);
    out.extend_from_slice(leaf.key.key_id());
    out.extend_from_slice(&NOT_A_CA);
}

/// Lengths of the alternative name extension, from the inside out.
struct Lengths {
    all: usize,
    extension_content: usize,
    extension: usize,
}

impl Lengths {
    fn of_names(leaf: &Leaf) -> Self {
        let all = leaf.names().map(|(_, name)| element_len(name.len())).sum();
        let extension_content = ALTERNATIVE_NAME.len() + element_len(element_len(all));
        Self {
            all,
            extension_content,
            extension: element_len(extension_content),
        }
    }
}

fn common_name_len(name: &str) -> usize {
    element_len(element_len(COMMON_NAME.len() + element_len(name.len())))
}

fn put_common_name(out: &mut Vec<u8>, name: &str) {
    let pair = COMMON_NAME.len() + element_len(name.len());
    der::put_header(out, SET, element_len(pair));
    der::put_header(out, SEQUENCE, pair);
    out.extend_from_slice(&COMMON_NAME);
    der::put(out, UTF8_STRING, name.as_bytes());
}
