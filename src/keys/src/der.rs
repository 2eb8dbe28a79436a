//! The few DER shapes a public key is made of, written and read strictly.

/// DER tags used in this crate.
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;

/// Appends one element.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len();
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        out.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let start = bytes.iter().position(|b| *b != 0).unwrap_or_default();
        let digits = bytes.get(start..).unwrap_or_default();
        // At most eight digits, so the sum stays below 0x89.
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(content);
}

/// Appends a non-negative INTEGER from its big-endian magnitude.
pub(crate) fn put_unsigned(out: &mut Vec<u8>, magnitude: &[u8]) {
    let magnitude = strip_zeros(magnitude);
    let mut content = Vec::with_capacity(magnitude.len() + 1);
    if magnitude.first().is_none_or(|b| *b >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(magnitude);
    put(out, INTEGER, &content);
}

/// A magnitude without leading zero bytes.
pub(crate) fn strip_zeros(magnitude: &[u8]) -> &[u8] {
    let start = magnitude
        .iter()
        .position(|b| *b != 0)
        .unwrap_or(magnitude.len());
    magnitude.get(start..).unwrap_or_default()
}

/// Takes one element with that tag off the front: (content, rest). Lengths are
/// read in definite form up to four digits; whoever needs canonical DER encodes
/// again and compares.
pub(crate) fn take(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
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
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
