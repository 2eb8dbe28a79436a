//! The certification request (PKCS#10, RFC 2986) of the agent's own key.
//!
//! The server takes nothing from it but the key, and the signature that proves
//! the agent holds it; so it is written here, in fifty lines, and a node's
//! binary carries no library that makes certificates.

use keys::{KeyType, SignError, Signer};

// C=US, O=SPIRE: the subject stock agents send.
const SUBJECT: &[u8] = &[
    0x30, 0x1d, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, b'U', b'S', 0x31,
    0x0e, 0x30, 0x0c, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x13, 0x05, b'S', b'P', b'I', b'R', b'E',
];
const VERSION: &[u8] = &[0x02, 0x01, 0x00];
const NO_ATTRIBUTES: &[u8] = &[0xa0, 0x00];
// 1.2.840.10045.4.3.2 and .3: ecdsa-with-SHA256, ecdsa-with-SHA384.
const ECDSA_SHA256: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];
const ECDSA_SHA384: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03,
];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// Requests a certificate for `signer`'s key, DER.
pub(crate) fn certification_request(signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
    let key = signer.public_key();
    let algorithm = match key.key_type() {
        KeyType::EcP256 => ECDSA_SHA256,
        KeyType::EcP384 => ECDSA_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa4096 => {
            return Err(SignError::Refused("agents have no RSA keys".into()));
        }
    };
    let info = tagged(SEQUENCE, &[VERSION, SUBJECT, key.spki_der(), NO_ATTRIBUTES]);
    let signature = signer.sign(&info)?;
    let signature = tagged(BIT_STRING, &[&[0], &signature]);
    Ok(tagged(SEQUENCE, &[&info, algorithm, &signature]))
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = vec![tag];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=127), _) => out.push(short),
        (Ok(byte), _) => out.extend([0x81, byte]),
        // Longer than 64 KiB is no key of ours.
        (_, word) => {
            out.push(0x82);
            out.extend(word.unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend(parts.iter().copied().flatten());
    out
}

#[cfg(test)]
mod tests {
    use keys::{KeyType, MemorySigner, Signer};
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

    use crate::entropy::Entropy;

    #[test]
    fn a_strict_parser_accepts_it_and_its_signature() {
        for key_type in [KeyType::EcP256, KeyType::EcP384] {
            let signer = MemorySigner::generate(key_type, Entropy::system().rng()).unwrap();
            let der = super::certification_request(&signer).unwrap();
            let (rest, csr) = X509CertificationRequest::from_der(&der).unwrap();
            assert!(rest.is_empty());
            csr.verify_signature().unwrap();
            let info = &csr.certification_request_info;
            assert_eq!(info.subject.to_string(), "C=US, O=SPIRE");
            assert_eq!(info.subject_pki.raw, signer.public_key().spki_der());
            assert!(info.attributes().is_empty());
        }
    }
}
