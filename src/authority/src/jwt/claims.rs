//! The claims of a JWT-SVID, written in one pass.

use std::fmt;

use identity::{SpiffeId, Timestamp};

use super::Issuer;

/// A token's unique id: 16 random bytes, written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Jti([u8; 16]);

impl Jti {
    /// Wraps random bytes, fresh for each token.
    #[must_use]
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The random bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(super) fn hex(self) -> [u8; 32] {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        let mut out = [0; 32];
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.0) {
            if let [high, low] = pair {
                (*high, *low) = (digit(byte >> 4), digit(byte & 15));
            }
        }
        out
    }
}

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jti({self})")
    }
}

/// Writes the claims. Only audiences may need escaping: IDs and hex never do.
pub(super) fn write(
    spiffe_id: &SpiffeId,
    audience: &[String],
    (issued_at, expires_at): (Timestamp, Timestamp),
    jti: Jti,
    issuer: &Issuer,
) -> Vec<u8> {
    let audiences: usize = audience.iter().map(|a| a.len() + 3).sum();
    let id = spiffe_id.as_str();
    let mut out = Vec::with_capacity(128 + id.len() + audiences + issuer.issuer.len());
    out.extend_from_slice(br#"{"sub":""#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#"","aud":["#);
    for (i, audience) in audience.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put_string(&mut out, audience);
    }
    out.extend_from_slice(br#"],"exp":"#);
    put_number(&mut out, expires_at.0);
    out.extend_from_slice(br#","iat":"#);
    put_number(&mut out, issued_at.0);
    out.extend_from_slice(br#","jti":""#);
    out.extend_from_slice(&jti.hex());
    out.push(b'"');
    out.extend_from_slice(issuer.issuer.as_bytes());
    out.push(b'}');
    out
}

pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

/// Decimal digits of a number that is not negative.
pub(super) fn put_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut rest = number.unsigned_abs();
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        // A remainder by ten fits.
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        used += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - used));
}
