//! The few DER shapes keys and certificates are made of, written and read
//! strictly (X.690 section 10).

/// The tag of a SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// The tag of an INTEGER.
pub const INTEGER: u8 = 0x02;
/// The tag of a BIT STRING.
pub const BIT_STRING: u8 = 0x03;
/// The tag of an OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// The tag of an OBJECT IDENTIFIER.
pub const OID: u8 = 0x06;

/// How many bytes an element with that much content takes.
#[must_use]
pub const fn element_len(content: usize) -> usize {
    let digits = match content {
        0..=0x7f => 0,
        0x80..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    };
    2 + digits + content
}

/// Appends tag and length of an element; the caller appends the content. Content
/// of 4 GiB or more does not occur: every input here is bounded far below.
pub fn put_header(out: &mut Vec<u8>, tag: u8, content: usize) {
    out.push(tag);
    let [.., a, b, c, d] = content.to_be_bytes();
    match content {
        0..=0x7f => out.push(d),
        0x80..=0xff => out.extend_from_slice(&[0x81, d]),
        0x100..=0xffff => out.extend_from_slice(&[0x82, c, d]),
        0x1_0000..=0xff_ffff => out.extend_from_slice(&[0x83, b, c, d]),
        _ => out.extend_from_slice(&[0x84, a, b, c, d]),
    }
}

/// Appends one element.
pub fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    put_header(out, tag, content.len());
    out.extend_from_slice(content);
}

/// Appends a non-negative INTEGER from its big-endian magnitude.
pub fn put_unsigned(out: &mut Vec<u8>, magnitude: &[u8]) {
    let magnitude = strip_zeros(magnitude);
    let mut content = Vec::with_capacity(magnitude.len() + 1);
    if magnitude.first().is_none_or(|b| *b >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(magnitude);
    put(out, INTEGER, &content);
}

/// An ECDSA signature as hardware gives it (r and s, each as long as the curve's
/// order) in the form certificates hold: `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3).
#[must_use]
pub fn ecdsa_sig_value(fixed: &[u8]) -> Option<Vec<u8>> {
    if !matches!(fixed.len(), 64 | 96) {
        return None;
    }
    let (r, s) = fixed.split_at_checked(fixed.len() / 2)?;
    let mut pair = Vec::with_capacity(fixed.len() + 8);
    put_unsigned(&mut pair, r);
    put_unsigned(&mut pair, s);
    let mut out = Vec::with_capacity(pair.len() + 4);
    put(&mut out, SEQUENCE, &pair);
    Some(out)
}

/// A magnitude without leading zero bytes.
#[must_use]
pub fn strip_zeros(magnitude: &[u8]) -> &[u8] {
    let start = magnitude
        .iter()
        .position(|b| *b != 0)
        .unwrap_or(magnitude.len());
    magnitude.get(start..).unwrap_or_default()
}

/// Takes one element with that tag off the front: (content, rest). Strict: the
/// length is in definite form, minimal, and at most four digits.
#[must_use]
pub fn take(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = digits
                .iter()
                .fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit));
            let minimal = length > 0x7f && digits.first() != Some(&0);
            (minimal.then_some(length)?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// As [`take`], but gives the whole element, header included: (element, rest).
#[must_use]
pub fn take_whole(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (_, rest) = take(input, tag)?;
    input.split_at_checked(input.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken_and_counted(content in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let mut out = Vec::new();
            put(&mut out, SEQUENCE, &content);
            prop_assert_eq!(out.len(), element_len(content.len()));
            out.push(7);
            prop_assert_eq!(take(&out, SEQUENCE), Some((&content[..], &[7][..])));
            prop_assert_eq!(take(&out, INTEGER), None);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), tag: u8) {
            let _ = take(&bytes, tag);
            let _ = take_whole(&bytes, tag);
        }
    }

    #[test]
    fn lengths_that_are_not_minimal_are_refused() {
        assert_eq!(take(&[0x30, 0x81, 0x01, 0xaa], SEQUENCE), None);
        assert_eq!(take(&[0x30, 0x82, 0x00, 0x80], SEQUENCE), None);
        assert_eq!(take(&[0x30, 0x80, 0x00, 0x00], SEQUENCE), None);
        assert_eq!(take(&[0x30, 0x02, 0xaa], SEQUENCE), None);
    }
}
