//! Certificate requests: the key is taken, everything else is ignored or refused.

use authority::{KeyRefused, SubjectKey};
use keys::spki::SpkiError;
use keys::{KeyType, generate_pkcs8};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};

use crate::kit::rng;
use crate::openssl::{self, openssl};

fn key_pair(key_type: KeyType) -> (KeyPair, Vec<u8>) {
    let (pkcs8, public_key) = generate_pkcs8(key_type, &rng()).unwrap();
    let pair = KeyPair::try_from(&pkcs8[..]).unwrap();
    (pair, public_key.spki_der().to_vec())
}

fn request(key_type: KeyType) -> (Vec<u8>, Vec<u8>) {
    let (pair, spki) = key_pair(key_type);
    let params = CertificateParams::default();
    let csr = params.serialize_request(&pair).unwrap();
    (csr.der().to_vec(), spki)
}

#[test]
fn the_key_is_taken_as_it_stands() {
    for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
        let (csr, spki) = request(key_type);
        let key = SubjectKey::from_csr(&csr).unwrap();
        assert_eq!(key.spki_der(), spki);
        assert_eq!(key, SubjectKey::from_spki(&spki).unwrap());
    }
}

#[test]
fn names_and_powers_asked_for_have_no_effect() {
    let (pair, spki) = key_pair(KeyType::EcP256);
    let mut params = CertificateParams::new(vec!["admin.example".to_owned()]).unwrap();
    for uri in ["spiffe://example.org/admin", "spiffe://other.org/root"] {
        let uri = uri.to_owned().try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
    }
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let csr = params.serialize_request(&pair).unwrap();
    let key = SubjectKey::from_csr(csr.der()).unwrap();
    assert_eq!(key, SubjectKey::from_spki(&spki).unwrap());
}

#[test]
fn bytes_after_the_request_are_refused() {
    let (mut csr, _) = request(KeyType::EcP256);
    csr.push(0);
    let refused = SubjectKey::from_csr(&csr).unwrap_err();
    assert_eq!(refused, KeyRefused::CsrEncoding("bytes follow it"));
    let big = vec![0x30; 20_000];
    assert_eq!(
        SubjectKey::from_csr(&big).unwrap_err(),
        KeyRefused::CsrTooLarge(20_000)
    );
}

#[test]
fn pem_is_answered_with_what_to_do() {
    let refused = SubjectKey::from_csr(b"-----BEGIN CERTIFICATE REQUEST-----").unwrap_err();
    assert!(
        refused.to_string().contains("send DER, not PEM"),
        "{refused}"
    );
}

#[test]
fn every_flipped_byte_of_a_request_is_refused() {
    let (csr, _) = request(KeyType::EcP256);
    for at in 0..csr.len() {
        let mut bad = csr.clone();
        bad[at] ^= 1;
        assert!(SubjectKey::from_csr(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn a_request_signed_with_another_key_is_refused() {
    let (one, _) = request(KeyType::EcP256);
    let (other, _) = request(KeyType::EcP256);
    // Same subject and attributes, so the signatures have the same place.
    let tail = 60;
    let mut mixed = one[..one.len() - tail].to_vec();
    mixed.extend_from_slice(&other[other.len() - tail..]);
    assert!(SubjectKey::from_csr(&mixed).is_err());
}

/// Requests as OpenSSL makes them, by key and digest.
fn by_openssl(key: &[&str], digest: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let path = path.to_str().unwrap();
    let mut generate = vec!["genpkey", "-out", path];
    generate.extend_from_slice(key);
    openssl(&generate, b"");
    let subject = "/CN=whoever";
    openssl(
        &[
            "req", "-new", "-key", path, "-subj", subject, digest, "-outform", "DER",
        ],
        b"",
    )
}

const fn ec(option: &str) -> [&str; 4] {
    ["-algorithm", "EC", "-pkeyopt", option]
}

const fn rsa(option: &str) -> [&str; 4] {
    ["-algorithm", "RSA", "-pkeyopt", option]
}

#[test]
fn requests_of_openssl_with_allowed_keys_are_taken() {
    for (key, digest) in [
        (ec("ec_paramgen_curve:P-256"), "-sha256"),
        // Not the digest of the curve: a trap for readers that take the key's kind
        // from the signature.
        (ec("ec_paramgen_curve:P-256"), "-sha384"),
        (ec("ec_paramgen_curve:P-384"), "-sha256"),
        (ec("ec_paramgen_curve:P-384"), "-sha384"),
        (rsa("rsa_keygen_bits:2048"), "-sha256"),
        (rsa("rsa_keygen_bits:3072"), "-sha512"),
    ] {
        let key = SubjectKey::from_csr(&by_openssl(&key, digest));
        assert!(key.is_ok(), "{digest} {key:?}");
    }
}

#[test]
fn requests_of_openssl_with_other_keys_are_refused_by_name() {
    let refused =
        |key: &[&str], digest: &str| SubjectKey::from_csr(&by_openssl(key, digest)).unwrap_err();
    let algorithm = |found| KeyRefused::Key(SpkiError::Algorithm { found });
    let p224 = refused(&ec("ec_paramgen_curve:P-224"), "-sha256");
    assert_eq!(p224, algorithm("ECDSA P-224"));
    let p521 = refused(&ec("ec_paramgen_curve:P-521"), "-sha512");
    assert_eq!(p521, algorithm("ECDSA P-521"));
    let ed25519 = refused(&["-algorithm", "ED25519"], "-sha256");
    assert_eq!(ed25519, algorithm("Ed25519"));
    let small = refused(&rsa("rsa_keygen_bits:1024"), "-sha256");
    assert_eq!(small, KeyRefused::Key(SpkiError::RsaSize { bits: 1024 }));
    let weak = refused(&rsa("rsa_keygen_bits:2048"), "-sha1");
    assert_eq!(weak, KeyRefused::CsrAlgorithm);
    let unusual = refused(&ec("ec_paramgen_curve:P-256"), "-sha512");
    assert_eq!(unusual, KeyRefused::CsrAlgorithm);
    let exponent = refused(
        &[
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-pkeyopt",
            "rsa_keygen_pubexp:3",
        ],
        "-sha256",
    );
    assert!(matches!(
        exponent,
        KeyRefused::Key(SpkiError::RsaUnsafe { .. })
    ));
    assert!(openssl::version().contains("OpenSSL"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = SubjectKey::from_csr(&bytes);
        let _ = SubjectKey::from_spki(&bytes);
    }
}
