//! Keys in a real token: SoftHSM2, initialised in a folder of the test's own.
//!
//! SoftHSM reads where its tokens are from the environment, once in a process: each
//! test runs itself again as a child with the variable set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and makes its own randomness and environment"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use keys::{KeyStorage, KeyType, Protection, StorageError};
use pkcs11::{TokenKeys, TokenOptions};
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

const PIN: &str = "correct-horse";
const LABEL: &str = "bulla test";

fn module() -> PathBuf {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/lib/pkcs11/libsofthsm2.so",
    ];
    let found = places.iter().find(|place| Path::new(place).exists());
    found
        .expect("SoftHSM2 is installed (tests/run sees to it)")
        .into()
}

/// Runs `body` in a process of its own with a fresh token.
fn with_token(test: &str, body: impl FnOnce()) {
    if std::env::var_os("SOFTHSM2_CONF").is_some() {
        return body();
    }
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let config = folder.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&config, text).unwrap();
    let initialised = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", LABEL])
        .args(["--pin", PIN, "--so-pin", "1234567890"])
        .env("SOFTHSM2_CONF", &config)
        .output()
        .unwrap();
    assert!(initialised.status.success(), "{initialised:?}");
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SOFTHSM2_CONF", &config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && text.contains("1 passed"), "{text}");
}

fn options() -> TokenOptions {
    TokenOptions {
        module: module(),
        token: LABEL.to_owned(),
        pin: Zeroizing::new(PIN.as_bytes().to_vec()),
        label_prefix: "bulla/example.org/".to_owned(),
        sessions: None,
    }
}

fn open() -> TokenKeys {
    TokenKeys::open(&options()).unwrap()
}

fn rng() -> SystemRandom {
    SystemRandom::new()
}

/// The token as a stranger in the same process sees it.
struct Stranger(Pkcs11);

impl Stranger {
    fn new() -> Self {
        let library = Pkcs11::new(module()).unwrap();
        let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match library.initialize(locking) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => panic!("{error}"),
        }
        Self(library)
    }

    fn session(&self) -> Session {
        let slot = self.0.get_slots_with_initialized_token().unwrap()[0];
        let session = self.0.open_rw_session(slot).unwrap();
        match session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn keys_of_every_type_are_made_sign_and_are_found_after_a_restart() {
    with_token(
        "keys_of_every_type_are_made_sign_and_are_found_after_a_restart",
        || {
            let types = [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048];
            let first = open();
            assert_eq!(first.protection(), Protection::Pkcs11);
            let made = types.map(|kind| first.create(kind.name(), kind, &rng()).unwrap());
            drop(first);
            let again = open();
            assert_eq!(again.list().unwrap(), ["ec-p256", "ec-p384", "rsa-2048"]);
            for (kind, made) in types.into_iter().zip(made) {
                let loaded = again.load(kind.name()).unwrap().unwrap();
                assert!(loaded.is_remote());
                assert_eq!(loaded.public_key().key_type(), kind);
                assert_eq!(loaded.public_key(), made.public_key());
                let signature = loaded.sign(b"message").unwrap();
                made.public_key().verify(b"message", &signature).unwrap();
                assert!(made.public_key().verify(b"massage", &signature).is_err());
            }
        },
    );
}

#[test]
fn the_token_never_gives_a_private_key_out() {
    with_token("the_token_never_gives_a_private_key_out", || {
        let _signer = open().create("k", KeyType::EcP256, &rng()).unwrap();
        let stranger = Stranger::new();
        let session = stranger.session();
        let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
        let [private] = session.find_objects(&wanted).unwrap()[..] else {
            panic!("one private key");
        };
        let secret = session.get_attributes(private, &[AttributeType::Value]);
        assert!(secret.is_ok_and(|attributes| attributes.is_empty()));
        let wanted = [
            AttributeType::NeverExtractable,
            AttributeType::AlwaysSensitive,
            AttributeType::Local,
        ];
        let attributes = session.get_attributes(private, &wanted).unwrap();
        assert!(attributes.contains(&Attribute::NeverExtractable(true)));
        assert!(attributes.contains(&Attribute::AlwaysSensitive(true)));
        assert!(attributes.contains(&Attribute::Local(true)));
    });
}

#[test]
fn a_key_that_the_token_would_give_out_is_refused() {
    with_token("a_key_that_the_token_would_give_out_is_refused", || {
        let keys = open();
        let label = Attribute::Label(b"bulla/example.org/loose".to_vec());
        let p256 = vec![0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let public = [
            Attribute::Token(true),
            Attribute::EcParams(p256),
            label.clone(),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Extractable(true),
            Attribute::Sensitive(true),
            Attribute::Sign(true),
            label,
        ];
        let session = Stranger::new().session();
        let _pair = session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
            .unwrap();
        let loaded = keys.load("loose").map(|_| ());
        assert!(
            matches!(loaded, Err(StorageError::Unfit { .. })),
            "{loaded:?}"
        );
    });
}

#[test]
fn nothing_is_overwritten_removal_is_final_and_others_keys_are_let_alone() {
    with_token(
        "nothing_is_overwritten_removal_is_final_and_others_keys_are_let_alone",
        || {
            let keys = open();
            let mut others = options();
            others.label_prefix = "bulla/example.com/".to_owned();
            let others = TokenKeys::open(&others).unwrap();
            let _theirs = others.create("k", KeyType::EcP256, &rng()).unwrap();
            let signer = keys.create("k", KeyType::EcP256, &rng()).unwrap();
            let again = keys.create("k", KeyType::EcP256, &rng()).map(|_| ());
            assert!(matches!(again, Err(StorageError::Exists(_))), "{again:?}");
            keys.remove("k").unwrap();
            keys.remove("k").unwrap();
            assert!(keys.load("k").unwrap().is_none());
            assert!(keys.list().unwrap().is_empty());
            assert!(signer.sign(b"m").is_err(), "a removed key signs no more");
            assert_eq!(others.list().unwrap(), ["k"]);
            assert!(keys.load("../k").is_err());
        },
    );
}

/// What happens when a token is pulled out and put back: all sessions and the login
/// are gone, and what signs goes on all the same.
#[test]
fn after_the_token_went_away_it_is_found_and_logged_in_to_again() {
    with_token(
        "after_the_token_went_away_it_is_found_and_logged_in_to_again",
        || {
            let keys = open();
            let signer = keys.create("k", KeyType::EcP256, &rng()).unwrap();
            let stranger = Stranger::new();
            for _ in 0..3 {
                drop(stranger.session().logout());
                let signature = signer.sign(b"m").unwrap();
                signer.public_key().verify(b"m", &signature).unwrap();
                assert_eq!(keys.list().unwrap(), ["k"]);
            }
        },
    );
}

#[test]
fn more_signers_than_sessions_take_turns() {
    with_token("more_signers_than_sessions_take_turns", || {
        let keys = TokenKeys::open(&TokenOptions {
            sessions: Some(2),
            ..options()
        })
        .unwrap();
        let signer = keys.create("k", KeyType::EcP256, &rng()).unwrap();
        let before = Stranger::new().session().handle();
        let all: Vec<_> = (0..16)
            .map(|n: u8| {
                let signer = Arc::clone(&signer);
                thread::spawn(move || {
                    for round in 0..20 {
                        let signature = signer.sign(&[n, round]).unwrap();
                        signer.public_key().verify(&[n, round], &signature).unwrap();
                    }
                })
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
        // The token numbers sessions as they are opened: two that sign, and no more.
        let opened = Stranger::new().session().handle() - before;
        assert!(opened <= 4, "{opened} sessions were opened");
    });
}

#[test]
fn a_wrong_pin_is_tried_once_and_said_plainly() {
    with_token("a_wrong_pin_is_tried_once_and_said_plainly", || {
        let wrong = TokenOptions {
            pin: Zeroizing::new(b"battery-staple".to_vec()),
            ..options()
        };
        let error = TokenKeys::open(&wrong).map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StorageError::Denied { .. }), "{text}");
        assert!(text.contains("refused the PIN"), "{text}");
        assert!(!text.contains("staple"), "{text}");
        // The token is not locked: the right PIN still opens it.
        assert!(open().list().unwrap().is_empty());
    });
}

#[test]
fn a_token_or_library_that_is_not_there_is_named() {
    with_token("a_token_or_library_that_is_not_there_is_named", || {
        let missing = TokenOptions {
            token: "nobody".to_owned(),
            ..options()
        };
        let error = TokenKeys::open(&missing).map(|_| ()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("no token is labelled \"nobody\"")
        );
        let missing = TokenOptions {
            module: "/nowhere/pkcs11.so".into(),
            ..options()
        };
        let error = TokenKeys::open(&missing).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/pkcs11.so"), "{error}");
    });
}
