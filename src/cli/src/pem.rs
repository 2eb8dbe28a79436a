//! PEM armour (RFC 7468) around DER, for people and for software that reads files.

use ring::digest;

/// One PEM block with the label given.
#[must_use]
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    // What is armoured may be a private key.
    let body = zeroize::Zeroizing::new(base64(der));
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Splits concatenated DER certificates, as the Workload API carries them.
/// Stops at the first byte that begins no DER SEQUENCE.
#[must_use]
pub(crate) fn split_der(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(length) = sequence_length(bytes) {
        let Some((one, rest)) = bytes.split_at_checked(length) else {
            break;
        };
        found.push(one);
        bytes = rest;
    }
    found
}

/// The whole length of the DER SEQUENCE that `bytes` begins with.
fn sequence_length(bytes: &[u8]) -> Option<usize> {
    let (&0x30, &first) = (bytes.first()?, bytes.get(1)?) else {
        return None;
    };
    match first {
        0..=0x7f => Some(2 + usize::from(first)),
        0x81..=0x83 => {
            let count = usize::from(first & 0x0f);
            let digits = bytes.get(2..2 + count)?;
            Some(2 + count + digits.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
        }
        _ => None,
    }
}

/// SHA-256 in hexadecimal.
#[must_use]
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenated_certificates_come_apart() {
        let one = [0x30, 2, 1, 2];
        let long: Vec<u8> = [0x30, 0x81, 0x80].into_iter().chain([7; 0x80]).collect();
        let both: Vec<u8> = one.iter().copied().chain(long.iter().copied()).collect();
        assert_eq!(split_der(&both), [&one[..], &long[..]]);
        assert!(split_der(&[0x30, 0x82, 1]).is_empty());
    }

    #[test]
    fn lines_are_64_characters() {
        let text = encode("CERTIFICATE", &[0; 100]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n"));
    }
}
