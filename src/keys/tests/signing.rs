//! Signers and public keys of every type.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and makes its own randomness"
)]

use keys::memory::MemoryKeys;
use keys::spki::{self, Numbers, SpkiError};
use keys::{
    KeyError, KeyStorage as _, KeyType, MemorySigner, Protection, PublicKey, Signer as _,
    StorageError, generate_pkcs8,
};
use proptest::prelude::*;
use ring::rand::SystemRandom;

fn rng() -> SystemRandom {
    SystemRandom::new()
}

#[test]
fn generated_keys_sign_what_their_public_half_verifies() {
    for key_type in KeyType::ALL {
        let (pkcs8, public_key) = generate_pkcs8(key_type, &rng()).unwrap();
        assert_eq!(public_key.key_type(), key_type);
        let signer = MemorySigner::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(signer.public_key(), &public_key);
        assert_eq!(
            PublicKey::from_spki(public_key.spki_der()).unwrap(),
            public_key
        );
        let mut signature = signer.sign(b"message").unwrap();
        public_key.verify(b"message", &signature).unwrap();
        let last = signature.len() - 1;
        signature[last] ^= 1;
        assert!(public_key.verify(b"message", &signature).is_err());
    }
}

#[test]
fn rsa_keys_have_the_asked_size_and_the_usual_exponent() {
    let (_, public_key) = generate_pkcs8(KeyType::Rsa2048, &rng()).unwrap();
    let Numbers::Rsa { n, e } = spki::parse(public_key.spki_der()).unwrap() else {
        panic!("not an RSA key");
    };
    assert_eq!((n.len(), e), (256, &[1, 0, 1][..]));
    assert!(n[0] & 0x80 != 0);
}

#[test]
fn nothing_secret_shows_in_debug_output() {
    let signer = MemorySigner::generate(KeyType::EcP256, &rng()).unwrap();
    assert_eq!(format!("{signer:?}"), "MemorySigner(ec-p256)");
}

#[test]
fn foreign_bytes_are_no_private_key() {
    for bad in [&b""[..], b"x", &[0x30, 0x00]] {
        assert_eq!(
            MemorySigner::from_pkcs8(bad).err(),
            Some(KeyError::Encoding)
        );
    }
    let (pkcs8, _) = generate_pkcs8(KeyType::EcP256, &rng()).unwrap();
    let (other, _) = generate_pkcs8(KeyType::EcP256, &rng()).unwrap();
    // The private half of one key with the public half of another.
    let mut mixed = pkcs8[..pkcs8.len() - 65].to_vec();
    mixed.extend_from_slice(&other[other.len() - 65..]);
    assert!(MemorySigner::from_pkcs8(&mixed).is_err());
}

#[test]
fn memory_storage_keeps_the_contract() {
    let keys = MemoryKeys::new();
    assert_eq!(keys.protection(), Protection::Memory);
    let made = keys.create("b", KeyType::EcP256, &rng()).unwrap();
    keys.create("a", KeyType::EcP256, &rng()).unwrap();
    let again = keys.create("b", KeyType::EcP256, &rng()).map(|_| ());
    assert!(matches!(again, Err(StorageError::Exists(_))));
    assert_eq!(keys.list().unwrap(), ["a", "b"]);
    let loaded = keys.load("b").unwrap().unwrap();
    assert_eq!(loaded.public_key(), made.public_key());
    keys.remove("b").unwrap();
    assert!(keys.load("b").unwrap().is_none());
    assert!(matches!(keys.load("B"), Err(StorageError::BadId(_))));
}

#[test]
fn public_keys_outside_the_allow_list_are_named() {
    let ec = |curve: &[u8], point: usize| {
        let mut algorithm = vec![0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06];
        algorithm.push(u8::try_from(curve.len()).unwrap());
        algorithm.extend_from_slice(curve);
        let (mut content, mut out) = (Vec::new(), Vec::new());
        keys::der::put(&mut content, 0x30, &algorithm);
        let mut bits = vec![0, 4];
        bits.resize(2 + point, 1);
        keys::der::put(&mut content, 0x03, &bits);
        keys::der::put(&mut out, 0x30, &content);
        out
    };
    let found = |der: &[u8]| match spki::parse(der) {
        Err(SpkiError::Algorithm { found }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        found(&ec(&[0x2b, 0x81, 0x04, 0x00, 0x21], 56)),
        "ECDSA P-224"
    );
    assert_eq!(
        found(&ec(&[0x2b, 0x81, 0x04, 0x00, 0x23], 132)),
        "ECDSA P-521"
    );
    assert_eq!(
        found(&ec(&[0x2b, 0x81, 0x04, 0x00, 0x0a], 64)),
        "ECDSA secp256k1"
    );
    assert_eq!(found(&ec(&[0x2b, 0x99], 64)), "of an unknown kind");
    let p256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    assert_eq!(spki::parse(&ec(&p256, 64)), Err(SpkiError::NotOnCurve));
    let mut compressed = ec(&p256, 32);
    let at = compressed.len() - 33;
    compressed[at] = 2;
    assert_eq!(spki::parse(&compressed), Err(SpkiError::Compressed));
}

#[test]
fn rsa_keys_outside_the_rules_are_refused() {
    let key = |n: &[u8], e: &[u8]| spki::encode(&Numbers::Rsa { n, e });
    let mut modulus = [0xff; 512];
    let f4 = [1, 0, 1];
    assert!(spki::parse(&key(&modulus[..256], &f4)).is_ok());
    assert!(spki::parse(&key(&modulus[..384], &f4)).is_ok());
    let size = |bits| Err(SpkiError::RsaSize { bits });
    assert_eq!(spki::parse(&key(&modulus[..128], &f4)), size(1024));
    let mut long = vec![0x7f];
    long.extend_from_slice(&modulus);
    assert_eq!(spki::parse(&key(&long, &f4)), size(4103));
    let odd_exponents: [&[u8]; 3] = [&[3], &[1], &[1, 0, 3]];
    for e in odd_exponents {
        let der = key(&modulus, e);
        let refused = spki::parse(&der);
        assert!(matches!(refused, Err(SpkiError::RsaUnsafe { .. })), "{e:?}");
    }
    modulus[511] = 0xfe;
    assert!(matches!(
        spki::parse(&key(&modulus, &f4)),
        Err(SpkiError::RsaUnsafe { .. })
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = spki::parse(&bytes);
        let _ = MemorySigner::from_pkcs8(&bytes);
    }

    #[test]
    fn a_changed_byte_never_yields_another_encoding_of_the_same_key(at in 0_usize..91, flip in 1_u8..) {
        let signer = MemorySigner::generate(KeyType::EcP256, &rng()).unwrap();
        let good = signer.public_key().spki_der();
        let mut bad = good.to_vec();
        bad[at] ^= flip;
        prop_assert!(spki::parse(&bad).is_err(), "byte {}", at);
        bad = good.to_vec();
        bad.push(flip);
        prop_assert_eq!(spki::parse(&bad), Err(SpkiError::Encoding));
    }
}
