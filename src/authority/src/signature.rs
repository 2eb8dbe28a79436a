//! Signatures as they go into certificates and tokens, with the checks that are
//! cheap enough to run on every one.

use keys::KeyType;
use keys::der::{self, INTEGER, SEQUENCE};

/// AlgorithmIdentifiers (RFC 5758 section 3.2, RFC 4055 section 5).
const ECDSA_WITH_SHA256: [u8; 12] = [
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];
const ECDSA_WITH_SHA384: [u8; 12] = [
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03,
];
const RSA_WITH_SHA256: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00,
];

/// The AlgorithmIdentifier of the signatures a key of that type makes.
pub(crate) const fn algorithm_identifier(key_type: KeyType) -> &'static [u8] {
    match key_type {
        KeyType::EcP256 => &ECDSA_WITH_SHA256,
        KeyType::EcP384 => &ECDSA_WITH_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa4096 => &RSA_WITH_SHA256,
    }
}

/// The JWS `alg` of the signatures a key of that type makes (RFC 7518 section 3.1).
pub(crate) const fn jws_algorithm(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::EcP256 => "ES256",
        KeyType::EcP384 => "ES384",
        KeyType::Rsa2048 | KeyType::Rsa4096 => "RS256",
    }
}

/// Whether the bytes have the form of a signature by such a key: the right
/// length, and for ECDSA two positive numbers in DER.
pub(crate) fn is_well_formed(key_type: KeyType, signature: &[u8]) -> bool {
    match key_type {
        KeyType::EcP256 => ecdsa_numbers(signature, 32).is_some(),
        KeyType::EcP384 => ecdsa_numbers(signature, 48).is_some(),
        KeyType::Rsa2048 => signature.len() == 256,
        KeyType::Rsa4096 => signature.len() == 512,
    }
}

/// The signature as JWS carries it: for ECDSA the two numbers, each padded to
/// the size of the field (RFC 7518 section 3.4). `None` when it is malformed.
pub(crate) fn to_jws(key_type: KeyType, signature: &[u8]) -> Option<Vec<u8>> {
    let size = match key_type {
        KeyType::EcP256 => 32,
        KeyType::EcP384 => 48,
        KeyType::Rsa2048 | KeyType::Rsa4096 => {
            return is_well_formed(key_type, signature).then(|| signature.to_vec());
        }
    };
    let (r, s) = ecdsa_numbers(signature, size)?;
    let mut out = Vec::with_capacity(2 * size);
    for number in [r, s] {
        out.resize(out.len() + size - number.len(), 0);
        out.extend_from_slice(number);
    }
    Some(out)
}

/// The two numbers of an `Ecdsa-Sig-Value` without leading zeros, each of 1 to
/// `size` bytes.
fn ecdsa_numbers(signature: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (pair, rest) = der::take(signature, SEQUENCE)?;
    let (r, second) = der::take(pair, INTEGER)?;
    let (s, end) = der::take(second, INTEGER)?;
    if !(rest.is_empty() && end.is_empty()) {
        return None;
    }
    let number = |content: &'_ [u8]| -> Option<usize> {
        let skip = match content {
            [0, second, ..] if *second >= 0x80 => 1,
            [first, ..] if (1..0x80).contains(first) => 0,
            _ => return None,
        };
        (content.len() - skip <= size).then_some(skip)
    };
    let (skip_r, skip_s) = (number(r)?, number(s)?);
    Some((r.get(skip_r..)?, s.get(skip_s..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::{MemorySigner, Signer as _};
    use proptest::prelude::*;

    #[test]
    fn every_real_signature_is_well_formed_and_of_fixed_size_in_jws() {
        #[expect(clippy::disallowed_methods, reason = "tests make their own randomness")]
        let rng = ring::rand::SystemRandom::new();
        for (key_type, size) in [(KeyType::EcP256, 64), (KeyType::EcP384, 96)] {
            let signer = MemorySigner::generate(key_type, &rng).unwrap();
            // Enough that short numbers (one in 256) occur.
            for i in 0..600_u32 {
                let signature = signer.sign(&i.to_be_bytes()).unwrap();
                assert!(is_well_formed(key_type, &signature));
                assert_eq!(to_jws(key_type, &signature).unwrap().len(), size);
            }
        }
    }

    #[test]
    fn malformed_signatures_are_seen() {
        let good = [0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x7f];
        assert!(is_well_formed(KeyType::EcP256, &good));
        let bad: [&[u8]; 7] = [
            &[],
            &good[..7],
            &[0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x01],
            &[0x30, 0x06, 0x02, 0x01, 0x80, 0x02, 0x01, 0x01],
            &[0x30, 0x07, 0x02, 0x02, 0x00, 0x01, 0x02, 0x01, 0x01],
            &[0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x00],
            &[0x30, 0x03, 0x02, 0x01, 0x01],
        ];
        for (i, signature) in bad.into_iter().enumerate() {
            assert!(!is_well_formed(KeyType::EcP256, signature), "case {i}");
        }
        assert!(!is_well_formed(KeyType::Rsa2048, &[1; 255]));
        let mut long = vec![0x30, 38, 0x02, 33];
        long.extend([0x7f; 33]);
        long.extend([0x02, 0x01, 0x01]);
        assert!(!is_well_formed(KeyType::EcP256, &long));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            for key_type in KeyType::ALL {
                let _ = is_well_formed(key_type, &bytes);
                let _ = to_jws(key_type, &bytes);
            }
        }
    }
}
