//! Keys in files: what is kept, what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and makes its own randomness"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use keys::file::{FileKeys, Seal, seal_directory};
use keys::{KeyStorage, KeyType, Protection, StorageError};
use ring::rand::SystemRandom;
use tempfile::TempDir;
use zeroize::Zeroizing;

fn rng() -> SystemRandom {
    SystemRandom::new()
}

fn secret(byte: u8) -> Seal {
    Seal::Secret(Zeroizing::new(vec![byte; 32]))
}

fn open(dir: &Path, seal: &Seal) -> Result<FileKeys, StorageError> {
    FileKeys::open(dir, seal, &rng())
}

fn private_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    dir
}

/// Makes a key, closes the storage, and leaves its file behind.
fn with_key(dir: &Path, seal: &Seal, id: &str) -> Vec<u8> {
    let keys = open(dir, seal).unwrap();
    let signer = keys.create(id, KeyType::EcP256, &rng()).unwrap();
    signer.public_key().spki_der().to_vec()
}

#[test]
fn keys_survive_a_restart_under_every_seal() {
    let passphrase = || Seal::Passphrase(Zeroizing::new(b"correct horse battery".to_vec()));
    for (seal, again, protection) in [
        (Seal::None, Seal::None, Protection::Unsealed),
        (secret(7), secret(7), Protection::Sealed),
        (passphrase(), passphrase(), Protection::Sealed),
    ] {
        let dir = private_dir();
        let spki = with_key(dir.path(), &seal, "x509-1");
        let keys = open(dir.path(), &again).unwrap();
        assert_eq!(keys.protection(), protection);
        assert_eq!(keys.list().unwrap(), ["x509-1"]);
        let signer = keys.load("x509-1").unwrap().unwrap();
        assert_eq!(signer.public_key().spki_der(), spki);
        let signature = signer.sign(b"message").unwrap();
        signer.public_key().verify(b"message", &signature).unwrap();
        assert!(signer.public_key().verify(b"massage", &signature).is_err());
    }
}

#[test]
fn every_key_type_is_made_and_loaded() {
    let dir = private_dir();
    let keys = open(dir.path(), &secret(1)).unwrap();
    for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
        let id = key_type.name();
        let made = keys.create(id, key_type, &rng()).unwrap();
        let loaded = keys.load(id).unwrap().unwrap();
        assert_eq!(loaded.public_key().key_type(), key_type);
        assert_eq!(made.public_key(), loaded.public_key());
        let signature = loaded.sign(b"m").unwrap();
        made.public_key().verify(b"m", &signature).unwrap();
    }
    assert_eq!(keys.list().unwrap(), ["ec-p256", "ec-p384", "rsa-2048"]);
}

#[test]
fn sealed_files_hold_no_trace_of_the_key() {
    let (sealed, plain) = (private_dir(), private_dir());
    with_key(sealed.path(), &secret(1), "k");
    with_key(plain.path(), &Seal::None, "k");
    // The OID of P-256 is in every PKCS#8 file of such a key.
    let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let holds = |dir: &TempDir| {
        let file = fs::read(dir.path().join("k.key")).unwrap();
        file.windows(oid.len()).any(|w| w == oid)
    };
    assert!(holds(&plain), "the search must be able to find something");
    assert!(!holds(&sealed));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    for seal in [Seal::None, secret(3)] {
        let dir = private_dir();
        with_key(dir.path(), &seal, "k");
        let path = dir.path().join("k.key");
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            let keys = open(dir.path(), &seal).unwrap();
            let found = keys.load("k").map(|_| ());
            assert!(
                matches!(found, Err(StorageError::Damaged { .. })),
                "byte {at}: {found:?}"
            );
        }
        for length in [0, 5, 12, 24, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert!(
                open(dir.path(), &seal).unwrap().load("k").is_err(),
                "{length}"
            );
        }
    }
}

#[test]
fn files_cannot_be_swapped_or_unsealed_behind_our_back() {
    let dir = private_dir();
    with_key(dir.path(), &secret(1), "a");
    with_key(dir.path(), &secret(1), "b");
    fs::copy(dir.path().join("a.key"), dir.path().join("b.key")).unwrap();
    let keys = open(dir.path(), &secret(1)).unwrap();
    assert!(matches!(keys.load("b"), Err(StorageError::Damaged { .. })));
    drop(keys);

    let plain = private_dir();
    with_key(plain.path(), &Seal::None, "b");
    fs::copy(plain.path().join("b.key"), dir.path().join("b.key")).unwrap();
    let keys = open(dir.path(), &secret(1)).unwrap();
    assert!(matches!(keys.load("b"), Err(StorageError::Damaged { .. })));
}

#[test]
fn the_seal_must_be_the_one_it_was_sealed_with() {
    let dir = private_dir();
    with_key(dir.path(), &secret(1), "k");
    let other_kind = Seal::Passphrase(Zeroizing::new(vec![1; 32]));
    for wrong in [secret(2), Seal::None, other_kind] {
        let opened = open(dir.path(), &wrong).map(|_| ());
        assert!(
            matches!(opened, Err(StorageError::Seal { .. })),
            "{opened:?}"
        );
    }
    let plain = private_dir();
    with_key(plain.path(), &Seal::None, "k");
    assert!(matches!(
        open(plain.path(), &secret(1)),
        Err(StorageError::Seal { .. })
    ));
}

#[test]
fn short_seals_are_refused() {
    let dir = private_dir();
    let short = Seal::Secret(Zeroizing::new(vec![1; 31]));
    assert!(matches!(
        open(dir.path(), &short),
        Err(StorageError::Seal { .. })
    ));
    let short = Seal::Passphrase(Zeroizing::new(vec![1; 11]));
    assert!(matches!(
        open(dir.path(), &short),
        Err(StorageError::Seal { .. })
    ));
}

#[test]
fn loose_modes_are_refused_with_the_command_that_repairs_them() {
    let dir = private_dir();
    with_key(dir.path(), &Seal::None, "k");
    let file = dir.path().join("k.key");
    for (path, loose, tight) in [(dir.path(), 0o750, 0o700), (file.as_path(), 0o640, 0o600)] {
        fs::set_permissions(path, Permissions::from_mode(loose)).unwrap();
        let Err(StorageError::LooseMode { mode, remedy, .. }) = open(dir.path(), &Seal::None)
        else {
            panic!("mode {loose:o} was accepted");
        };
        assert_eq!(mode, loose);
        assert!(remedy.starts_with(&format!("chmod {tight:o} ")), "{remedy}");
        fs::set_permissions(path, Permissions::from_mode(tight)).unwrap();
    }
    open(dir.path(), &Seal::None).unwrap();
}

#[test]
fn new_directories_and_files_are_private_from_the_start() {
    let dir = private_dir();
    let nested = dir.path().join("a/keys");
    with_key(&nested, &secret(1), "k");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&nested), 0o700);
    for name in ["k.key", "seal", "lock"] {
        assert_eq!(mode(&nested.join(name)), 0o600, "{name}");
    }
}

#[test]
fn symbolic_links_are_not_followed() {
    let dir = private_dir();
    with_key(dir.path(), &Seal::None, "k");
    symlink(dir.path().join("k.key"), dir.path().join("l.key")).unwrap();
    assert!(open(dir.path(), &Seal::None).unwrap().load("l").is_err());
}

#[test]
fn nothing_is_overwritten_and_removal_is_final() {
    let dir = private_dir();
    let spki = with_key(dir.path(), &Seal::None, "k");
    let keys = open(dir.path(), &Seal::None).unwrap();
    let again = keys.create("k", KeyType::EcP256, &rng()).map(|_| ());
    assert!(matches!(again, Err(StorageError::Exists(_))));
    assert_eq!(
        keys.load("k").unwrap().unwrap().public_key().spki_der(),
        spki
    );
    keys.remove("k").unwrap();
    keys.remove("k").unwrap();
    assert!(keys.load("k").unwrap().is_none());
    assert!(keys.load("../k").is_err());
}

#[test]
fn a_directory_is_held_by_one_process_at_a_time() {
    let dir = private_dir();
    let first = open(dir.path(), &Seal::None).unwrap();
    assert!(matches!(
        open(dir.path(), &Seal::None),
        Err(StorageError::InUse(_))
    ));
    drop(first);
    open(dir.path(), &Seal::None).unwrap();
}

#[test]
fn leftovers_of_an_interrupted_write_are_cleared() {
    let dir = private_dir();
    with_key(dir.path(), &Seal::None, "k");
    let leftover = dir.path().join(".new-j.key");
    fs::write(&leftover, b"half").unwrap();
    let keys = open(dir.path(), &Seal::None).unwrap();
    assert_eq!(keys.list().unwrap(), ["k"]);
    assert!(!leftover.exists());
    keys.create("j", KeyType::EcP256, &rng()).unwrap();
}

fn copy(from: &Path, names: &[&str], to: &Path) {
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
        fs::set_permissions(to.join(name), Permissions::from_mode(0o600)).unwrap();
    }
}

/// Every state that a crash can leave behind: with the new seal beside, so many of
/// the keys are sealed. Nothing opens it but the same seal, which finishes it.
#[test]
fn an_unsealed_directory_is_sealed_whatever_crashes_on_the_way() {
    let ids = ["a", "b", "c"];
    let files = ["a.key", "b.key", "c.key"];
    let (plain, sealed) = (private_dir(), private_dir());
    let spkis = ids.map(|id| with_key(plain.path(), &Seal::None, id));
    copy(plain.path(), &files, sealed.path());
    assert_eq!(
        seal_directory(sealed.path(), &secret(1), &rng()).unwrap(),
        3
    );
    for done in 0..=files.len() {
        let dir = private_dir();
        copy(sealed.path(), &["seal"], dir.path());
        fs::rename(dir.path().join("seal"), dir.path().join("sealing")).unwrap();
        copy(sealed.path(), &files[..done], dir.path());
        copy(plain.path(), &files[done..], dir.path());
        fs::write(dir.path().join(".new-b.key"), b"half").unwrap();
        for refused in [Seal::None, secret(1), secret(2)] {
            let opened = open(dir.path(), &refused).map(|_| ()).unwrap_err();
            assert!(opened.to_string().contains("seal-keys"), "{opened}");
        }
        assert!(seal_directory(dir.path(), &secret(2), &rng()).is_err());
        assert_eq!(seal_directory(dir.path(), &secret(1), &rng()).unwrap(), 3);
        let keys = open(dir.path(), &secret(1)).unwrap();
        assert_eq!(keys.protection(), Protection::Sealed);
        for (id, spki) in ids.iter().zip(&spkis) {
            let key = keys.load(id).unwrap().unwrap();
            assert_eq!(key.public_key().spki_der(), spki);
        }
    }
}

#[test]
fn what_is_sealed_in_use_or_damaged_is_not_sealed_again() {
    let dir = private_dir();
    with_key(dir.path(), &Seal::None, "k");
    assert!(seal_directory(dir.path(), &Seal::None, &rng()).is_err());
    let in_use = open(dir.path(), &Seal::None).unwrap();
    let refused = seal_directory(dir.path(), &secret(1), &rng());
    assert!(matches!(refused, Err(StorageError::InUse(_))));
    drop(in_use);
    let path = dir.path().join("k.key");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&path, &bad).unwrap();
    let refused = seal_directory(dir.path(), &secret(1), &rng());
    assert!(matches!(refused, Err(StorageError::Damaged { .. })));
    fs::write(&path, &good).unwrap();
    assert_eq!(seal_directory(dir.path(), &secret(1), &rng()).unwrap(), 1);
    let again = seal_directory(dir.path(), &secret(1), &rng());
    assert!(matches!(again, Err(StorageError::Seal { .. })));
}
