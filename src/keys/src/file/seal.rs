//! How key files are sealed.
//!
//! The seal file: magic, kind, PBKDF2 rounds, salt, and a check value by which a
//! wrong passphrase is noticed before anything is decrypted or written. A key file:
//! magic, protection, nonce, then the PKCS#8 key, encrypted or followed by a checksum.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

use crate::KeyError;

/// The shortest passphrase accepted, in bytes.
pub const MIN_PASSPHRASE_BYTES: usize = 12;

/// The shortest secret accepted, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

/// The seal file's name.
pub(super) const SEAL_FILE: &str = "seal";

/// Its name while a directory is being sealed.
pub(super) const SEALING: &str = "sealing";

const SEAL_MAGIC: &[u8; 12] = b"bulla-seal-1";
const KEY_MAGIC: &[u8; 12] = b"bulla-key--1";
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const HASH_BYTES: usize = 32;

/// OWASP's figure for PBKDF2 with HMAC-SHA-256 (2023).
const ROUNDS: u32 = 600_000;
/// Bounds on what a seal file may ask for: neither weak nor endless.
const ROUNDS_ALLOWED: std::ops::RangeInclusive<u32> = 100_000..=10_000_000;

/// What seals the files. `Debug` is not implemented: it holds a secret.
pub enum Seal {
    /// Nothing: whoever reads the disk has the keys.
    None,
    /// A passphrase that a person chose, of at least [`MIN_PASSPHRASE_BYTES`]:
    /// stretched with PBKDF2.
    Passphrase(Zeroizing<Vec<u8>>),
    /// At least [`MIN_SECRET_BYTES`] random bytes, such as a systemd credential.
    Secret(Zeroizing<Vec<u8>>),
}

impl Seal {
    /// Whether the seal is long enough to be one.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Passphrase(p) if p.len() < MIN_PASSPHRASE_BYTES => {
                Err("the passphrase has fewer than 12 bytes; choose a longer one")
            }
            Self::Secret(s) if s.len() < MIN_SECRET_BYTES => {
                Err("the secret has fewer than 32 bytes; make one with: head -c 32 /dev/urandom")
            }
            _ => Ok(()),
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Passphrase(_) => 1,
            Self::Secret(_) => 2,
        }
    }
}

/// The key that the keys of all files are made from.
pub(super) struct Master(Zeroizing<[u8; HASH_BYTES]>);

impl Master {
    /// Sets a new seal up: the master key and the seal file.
    pub(super) fn create(seal: &Seal, rng: &dyn SecureRandom) -> Result<(Self, Vec<u8>), KeyError> {
        let mut salt = [0; SALT_BYTES];
        rng.fill(&mut salt).or(Err(KeyError::NoRandomness))?;
        let rounds = match seal {
            Seal::Passphrase(_) => ROUNDS,
            Seal::None | Seal::Secret(_) => 0,
        };
        let master = Self::derive(seal, &salt, rounds).ok_or(KeyError::NoRandomness)?;
        let mut file = SEAL_MAGIC.to_vec();
        file.push(seal.kind());
        file.extend_from_slice(&rounds.to_be_bytes());
        file.extend_from_slice(&salt);
        let check = master.mac(b"check", &file);
        file.extend_from_slice(check.as_ref());
        Ok((master, file))
    }

    /// Makes the master key again, and checks it against the seal file.
    pub(super) fn reopen(seal: &Seal, file: &[u8]) -> Result<Self, &'static str> {
        const DAMAGED: &str = "its seal file is damaged; restore it from a backup";
        const WRONG: &str = "it was sealed with another passphrase or secret; give that one";
        let (head, check) = file.split_last_chunk::<HASH_BYTES>().ok_or(DAMAGED)?;
        let rest = head.strip_prefix(SEAL_MAGIC).ok_or(DAMAGED)?;
        let ([kind], rest) = rest.split_first_chunk().ok_or(DAMAGED)?;
        let (rounds, salt) = rest.split_first_chunk().ok_or(DAMAGED)?;
        let salt: &[u8; SALT_BYTES] = salt.try_into().or(Err(DAMAGED))?;
        if *kind != seal.kind() {
            return Err(
                "it was sealed with the other kind of seal (passphrase or secret); give that one",
            );
        }
        let master = Self::derive(seal, salt, u32::from_be_bytes(*rounds)).ok_or(DAMAGED)?;
        let key = master.hmac_key();
        let mut message = b"check\0".to_vec();
        message.extend_from_slice(head);
        hmac::verify(&key, &message, check).or(Err(WRONG))?;
        Ok(master)
    }

    fn derive(seal: &Seal, salt: &[u8], rounds: u32) -> Option<Self> {
        let mut out = Zeroizing::new([0; HASH_BYTES]);
        match seal {
            Seal::None => return None,
            Seal::Passphrase(passphrase) => {
                let rounds =
                    NonZeroU32::new(rounds).filter(|r| ROUNDS_ALLOWED.contains(&r.get()))?;
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::derive(algorithm, rounds, salt, passphrase, &mut out[..]);
            }
            // Already random: one extraction, as in HKDF (RFC 5869 section 2.2).
            Seal::Secret(secret) => {
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret);
                out.copy_from_slice(tag.as_ref());
            }
        }
        Some(Self(out))
    }

    fn hmac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0[..])
    }

    fn mac(&self, label: &[u8], message: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.hmac_key());
        context.update(label);
        context.update(&[0]);
        context.update(message);
        context.sign()
    }

    /// A key for one file: a nonce that repeats in another file does no harm.
    fn file_key(&self, id: &str) -> Option<LessSafeKey> {
        let key = self.mac(b"file", id.as_bytes());
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

/// Whether a key file says that it is sealed.
pub(super) fn is_sealed(file: &[u8]) -> bool {
    let rest = file.strip_prefix(KEY_MAGIC);
    rest.and_then(|rest| rest.first()) == Some(&1)
}

/// Makes the content of a key file.
pub(super) fn wrap(
    master: Option<&Master>,
    id: &str,
    pkcs8: &[u8],
    rng: &dyn SecureRandom,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill(&mut nonce).or(Err(KeyError::NoRandomness))?;
    let mut file = Zeroizing::new(Vec::with_capacity(pkcs8.len() + 96));
    file.extend_from_slice(KEY_MAGIC);
    file.push(u8::from(master.is_some()));
    file.extend_from_slice(&nonce);
    let aad = authenticated(&file, id);
    let Some(master) = master else {
        let sum = checksum(&aad, pkcs8);
        file.extend_from_slice(pkcs8);
        file.extend_from_slice(sum.as_ref());
        return Ok(file);
    };
    const SEALING: KeyError = KeyError::Inconsistent("it cannot be sealed");
    let key = master.file_key(id).ok_or(SEALING)?;
    let mut body = Zeroizing::new(Vec::with_capacity(pkcs8.len() + 16));
    body.extend_from_slice(pkcs8);
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(&aad), &mut *body)
        .or(Err(SEALING))?;
    file.extend_from_slice(&body);
    Ok(file)
}

/// Takes the PKCS#8 key out of a key file's content.
pub(super) fn unwrap(
    master: Option<&Master>,
    id: &str,
    file: &[u8],
) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const CUT: &str = "it is too short";
    let rest = file.strip_prefix(KEY_MAGIC).ok_or("it is no key file")?;
    let ([sealed], rest) = rest.split_first_chunk().ok_or(CUT)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(CUT)?;
    let head = file.split_at_checked(file.len() - body.len()).ok_or(CUT)?.0;
    let aad = authenticated(head, id);
    match (master, *sealed) {
        (Some(master), 1) => {
            let key = master.file_key(id).ok_or("it cannot be unsealed")?;
            let mut body = Zeroizing::new(body.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let pkcs8 = key
                .open_in_place(nonce, Aad::from(&aad), &mut body)
                .or(Err("its seal is broken"))?;
            Ok(Zeroizing::new(pkcs8.to_vec()))
        }
        (None, 0) => {
            let (pkcs8, sum) = body.split_last_chunk::<HASH_BYTES>().ok_or(CUT)?;
            if checksum(&aad, pkcs8).as_ref() == sum {
                Ok(Zeroizing::new(pkcs8.to_vec()))
            } else {
                Err("its checksum is wrong")
            }
        }
        // Accepting it would let whoever can write the disk choose our keys.
        (Some(_), 0) => Err("it is not sealed, though its directory is"),
        (None, 1) => Err("it is sealed, though its directory is not"),
        _ => Err("its protection is unknown; a newer version may have written it"),
    }
}

/// Header and id: what cannot change without the seal breaking.
fn authenticated(head: &[u8], id: &str) -> Vec<u8> {
    [head, id.as_bytes()].concat()
}

/// Notices accidents only; whoever edits an unsealed file can do this sum as well.
fn checksum(aad: &[u8], pkcs8: &[u8]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(aad);
    context.update(pkcs8);
    context.finish()
}
