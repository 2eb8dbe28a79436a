//! Public keys between SubjectPublicKeyInfo and JWK members (RFC 7518 section 6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::{on_curve, roca};

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, curve }, BIT STRING { 04 ...` (RFC 5480).
/// P-521 signs nothing of ours, and ring cannot verify it; but other trust domains
/// may use it, and their bundles pass through.
const EC: [(Kind, &[u8]); 3] = [
    (
        Kind::P256,
        &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
        ],
    ),
    (
        Kind::P384,
        &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
        ],
    ),
    (
        Kind::P521,
        &[
            0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
            0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00, 0x04,
        ],
    ),
];
/// `SEQUENCE { rsaEncryption, NULL }`.
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// What kind of key it is, as far as JWS cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    P384,
    P521,
    Rsa,
}

impl Kind {
    /// The JWK name of the curve; none for RSA.
    const fn curve(self) -> Option<&'static str> {
        match self {
            Self::P256 => Some("P-256"),
            Self::P384 => Some("P-384"),
            Self::P521 => Some("P-521"),
            Self::Rsa => None,
        }
    }
}

/// A key that an SVID may be signed with, taken apart.
pub(crate) struct Parts {
    pub(crate) kind: Kind,
    /// The content of the BIT STRING: a point, or `RSAPublicKey` DER.
    pub(crate) raw: Vec<u8>,
    /// x and y, or n and e.
    numbers: [Vec<u8>; 2],
}

/// Takes a SubjectPublicKeyInfo apart; `None` for keys no SVID can be signed with:
/// other kinds, points off their curve, RSA below 2048 or above 8192 bits.
pub(crate) fn parts(spki: &[u8]) -> Option<Parts> {
    let ec = EC.iter().find_map(|(kind, prefix)| {
        let point = spki.strip_prefix(*prefix)?;
        Some((*kind, point))
    });
    let Some((kind, point)) = ec else {
        return rsa(spki);
    };
    let (x, y) = point.split_at_checked(point.len() / 2)?;
    let on_curve = match kind {
        Kind::P256 => on_curve::p256(x, y),
        Kind::P384 => on_curve::p384(x, y),
        Kind::P521 => on_curve::p521(x, y),
        Kind::Rsa => false,
    };
    on_curve.then(|| Parts {
        kind,
        raw: [&[4], point].concat(),
        numbers: [x.to_vec(), y.to_vec()],
    })
}

fn rsa(spki: &[u8]) -> Option<Parts> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    let Ok(PublicKey::RSA(key)) = info.parsed() else {
        return None;
    };
    let (n, e) = (magnitude(key.modulus), magnitude(key.exponent));
    (rest.is_empty() && is_usable_rsa(n, e)).then(|| Parts {
        kind: Kind::Rsa,
        raw: info.subject_public_key.data.to_vec(),
        numbers: [n.to_vec(), e.to_vec()],
    })
}

/// Big-endian digits without leading zeros.
fn magnitude(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|b| **b == 0).count();
    digits.get(zeros..).unwrap_or_default()
}

/// 2048 to 8192 bits, odd, with an odd exponent of 3 or more that fits 32 bits, and
/// not of a generator known to be broken: the keys of other trust domains need not be
/// as ours are.
fn is_usable_rsa(n: &[u8], e: &[u8]) -> bool {
    let top = n.first().copied().unwrap_or_default();
    let bits = (n.len() * 8).saturating_sub(top.leading_zeros() as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|b| b & 1 == 1);
    (2048..=8192).contains(&bits)
        && odd(n)
        && odd(e)
        && e.len() <= 4
        && e != [1]
        && !roca::is_marked(n)
}

/// Whether a JWK may verify signatures, as far as it says so itself: `alg` and
/// `key_ops` are optional (RFC 7517 sections 4.3 and 4.4), but mean what they say.
pub(crate) fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let algorithms: &[&str] = match (member("kty"), member("crv")) {
        (Some("RSA"), _) => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        (_, Some("P-256")) => &["ES256"],
        (_, Some("P-384")) => &["ES384"],
        (_, Some("P-521")) => &["ES512"],
        _ => &[],
    };
    let fits = jwk
        .get("alg")
        .is_none_or(|alg| alg.as_str().is_some_and(|alg| algorithms.contains(&alg)));
    let operations = jwk.get("key_ops").map(Value::as_array);
    let verifies = operations.is_none_or(|operations| {
        operations.is_some_and(|all| all.iter().any(|one| one.as_str() == Some("verify")))
    });
    fits && verifies
}

impl Parts {
    /// `kty` and the key members.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let [first, second] = self
            .numbers
            .each_ref()
            .map(|number| Value::from(URL_SAFE_NO_PAD.encode(number)));
        match self.kind.curve() {
            Some(curve) => Map::from_iter([
                ("kty".into(), Value::from("EC")),
                ("crv".into(), Value::from(curve)),
                ("x".into(), first),
                ("y".into(), second),
            ]),
            None => Map::from_iter([
                ("kty".into(), Value::from("RSA")),
                ("n".into(), first),
                ("e".into(), second),
            ]),
        }
    }
}

/// Makes a SubjectPublicKeyInfo of JWK members; `None` when they are no key that
/// an SVID can be signed with.
pub(crate) fn spki_of(jwk: &Map<String, Value>) -> Option<Vec<u8>> {
    let bytes = |name: &str| {
        let text = jwk.get(name)?.as_str()?;
        URL_SAFE_NO_PAD.decode(text).ok()
    };
    let spki = match jwk.get("kty")?.as_str()? {
        "RSA" => rsa_spki(&bytes("n")?, &bytes("e")?),
        "EC" => {
            let curve = jwk.get("crv")?.as_str()?;
            let (_, prefix) = EC.iter().find(|(kind, _)| kind.curve() == Some(curve))?;
            let (x, y) = (bytes("x")?, bytes("y")?);
            // Each coordinate has the size of the field (RFC 7518 section 6.2.1.2).
            (x.len() == y.len()).then(|| [prefix, &x[..], &y[..]].concat())?
        }
        _ => return None,
    };
    // Reading it back holds it to every rule: sizes, the curve's equation, oddness.
    parts(&spki).is_some().then_some(spki)
}

fn rsa_spki(n: &[u8], e: &[u8]) -> Vec<u8> {
    let unsigned = |digits| {
        let digits = magnitude(digits);
        let sign: &[u8] = match digits.first() {
            Some(top) if *top < 0x80 => &[],
            _ => &[0],
        };
        element(0x02, &[sign, digits].concat())
    };
    let key = element(0x30, &[unsigned(n), unsigned(e)].concat());
    let bits = element(0x03, &[&[0], &key[..]].concat());
    element(0x30, &[&RSA_ALGORITHM[..], &bits].concat())
}

/// One DER element; content beyond 64 KiB does not occur, as documents are bounded
/// and larger keys are refused when read back.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let header = match content.len() {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header[..], content].concat()
}
