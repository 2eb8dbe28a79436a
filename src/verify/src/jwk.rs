//! Public keys between SubjectPublicKeyInfo and JWK members (RFC 7518 section 6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::der;
use keys::spki::{self, Numbers};
use serde_json::{Map, Value};

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, secp521r1 }, BIT STRING { 04 ...`. No key
/// of ours is on P-521, but other trust domains' may be, and pass through.
const P521_PREFIX: [u8; 26] = [
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05,
    0x2b, 0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00, 0x04,
];
const P521_BYTES: usize = 66;
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// What kind of key a SubjectPublicKeyInfo holds, as far as JWS cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    P384,
    P521,
    Rsa,
}

/// A key taken apart: its kind, and x and y or n and e.
pub(crate) struct Parts<'a> {
    pub(crate) kind: Kind,
    first: &'a [u8],
    second: &'a [u8],
}

/// Takes a SubjectPublicKeyInfo apart; `None` for kinds no SVID uses.
pub(crate) fn parts(spki: &[u8]) -> Option<Parts<'_>> {
    if let Some(point) = spki.strip_prefix(&P521_PREFIX) {
        let (first, second) = point.split_at_checked(P521_BYTES)?;
        let kind = Kind::P521;
        return (second.len() == P521_BYTES).then_some(Parts {
            kind,
            first,
            second,
        });
    }
    let (kind, first, second): (_, &[u8], &[u8]) = match spki::parse(spki) {
        Ok(Numbers::EcP256 { x, y }) => (Kind::P256, x, y),
        Ok(Numbers::EcP384 { x, y }) => (Kind::P384, x, y),
        Ok(Numbers::Rsa { n, e }) => (Kind::Rsa, n, e),
        Err(_) => return other_rsa(spki),
    };
    Some(Parts {
        kind,
        first,
        second,
    })
}

/// RSA keys of other trust domains may be larger, or have other exponents, than
/// ours may; ring verifies up to 8192 bits.
fn other_rsa(spki: &[u8]) -> Option<Parts<'_>> {
    let (content, rest) = der::take(spki, der::SEQUENCE)?;
    let raw = content.strip_prefix(&RSA_ALGORITHM)?;
    let (bits, after) = der::take(raw, der::BIT_STRING)?;
    let (pair, end) = der::take(bits.strip_prefix(&[0])?, der::SEQUENCE)?;
    let (n, second) = der::take(pair, der::INTEGER)?;
    let (e, last) = der::take(second, der::INTEGER)?;
    let clean = rest.is_empty() && after.is_empty() && end.is_empty() && last.is_empty();
    let (first, second) = (der::strip_zeros(n), der::strip_zeros(e));
    (clean && is_usable_rsa(first, second)).then_some(Parts {
        kind: Kind::Rsa,
        first,
        second,
    })
}

/// 2048 to 8192 bits, odd, with an odd exponent of 3 or more that fits 32 bits.
fn is_usable_rsa(n: &[u8], e: &[u8]) -> bool {
    let top = n.first().copied().unwrap_or_default();
    let bits = (n.len() * 8).saturating_sub(top.leading_zeros() as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|b| b & 1 == 1);
    (2048..=8192).contains(&bits) && odd(n) && odd(e) && e.len() <= 4 && e != [1]
}

impl Parts<'_> {
    /// `kty` and the key members, in RFC 7518's order.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let text = |bytes: &[u8]| Value::from(URL_SAFE_NO_PAD.encode(bytes));
        let curve = match self.kind {
            Kind::P256 => "P-256",
            Kind::P384 => "P-384",
            Kind::P521 => "P-521",
            Kind::Rsa => {
                return Map::from_iter([
                    ("kty".into(), Value::from("RSA")),
                    ("n".into(), text(self.first)),
                    ("e".into(), text(self.second)),
                ]);
            }
        };
        Map::from_iter([
            ("kty".into(), Value::from("EC")),
            ("crv".into(), Value::from(curve)),
            ("x".into(), text(self.first)),
            ("y".into(), text(self.second)),
        ])
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
        "RSA" => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            spki::encode(&Numbers::Rsa { n: &n, e: &e })
        }
        "EC" => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            match jwk.get("crv")?.as_str()? {
                "P-256" => spki::encode(&Numbers::EcP256 {
                    x: x.as_slice().try_into().ok()?,
                    y: y.as_slice().try_into().ok()?,
                }),
                "P-384" => spki::encode(&Numbers::EcP384 {
                    x: x.as_slice().try_into().ok()?,
                    y: y.as_slice().try_into().ok()?,
                }),
                "P-521" => [&P521_PREFIX[..], &x, &y].concat(),
                _ => return None,
            }
        }
        _ => return None,
    };
    // Reading it back holds it to every rule: sizes, the curve's equation, oddness.
    parts(&spki).is_some().then_some(spki)
}
