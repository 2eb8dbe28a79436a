//! Making a key pair inside the token, so that its private half is never outside.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use keys::KeyType;

use crate::fault::Fault;

/// DER of the curves' object identifiers (RFC 5480 section 2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

pub(crate) fn pair(
    session: &Session,
    key_type: KeyType,
    label: &[u8],
) -> Result<(ObjectHandle, ObjectHandle), Fault> {
    let (mechanism, kind) = match key_type {
        KeyType::EcP256 => (Mechanism::EccKeyPairGen, curve(&P256)),
        KeyType::EcP384 => (Mechanism::EccKeyPairGen, curve(&P384)),
        KeyType::Rsa2048 => (Mechanism::RsaPkcsKeyPairGen, rsa(2048)),
        KeyType::Rsa4096 => (Mechanism::RsaPkcsKeyPairGen, rsa(4096)),
    };
    let mut public = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Label(label.to_vec()),
        Attribute::Id(label.to_vec()),
    ];
    public.extend(kind);
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Label(label.to_vec()),
        Attribute::Id(label.to_vec()),
    ];
    Ok(session.generate_key_pair(&mechanism, &public, &private)?)
}

fn curve(oid: &[u8]) -> Vec<Attribute> {
    vec![Attribute::EcParams(oid.to_vec())]
}

fn rsa(bits: u64) -> Vec<Attribute> {
    vec![
        Attribute::ModulusBits(bits.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ]
}
