//! Sealing: AES-256-GCM under a key derived (HKDF-SHA256) from bytes that lie
//! outside the data folder, with a fresh salt for each write.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"bulla-sealed-1\n";
const SALT_LEN: usize = 16;
const LEAST_KEY_BYTES: usize = 16;

/// Bytes that seal files. Wiped when dropped, never shown.
pub(crate) struct SealKey(Zeroizing<Vec<u8>>);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl SealKey {
    /// Takes the key file's bytes; `None` when they are too few to protect
    /// anything.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= LEAST_KEY_BYTES).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Seals `plain` for the file `name`; `None` when there is no randomness.
    pub(super) fn seal(&self, name: &str, plain: &[u8], rng: &dyn SecureRandom) -> Option<Vec<u8>> {
        let mut head = [0; SALT_LEN + NONCE_LEN];
        rng.fill(&mut head).ok()?;
        let (salt, nonce) = head.split_at(SALT_LEN);
        let key = self.derive(salt)?;
        let mut sealed = MAGIC.to_vec();
        sealed.extend_from_slice(&head);
        let mut text = Zeroizing::new(plain.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(name.as_bytes()), &mut text)
            .ok()?;
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// Opens what [`SealKey::seal`] made; bytes that are not sealed are given
    /// back, so that sealing can be switched on later.
    pub(super) fn open(
        key: Option<&Self>,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, &'static str> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Ok(bytes);
        };
        let key = key.ok_or("no storage.seal_key_file is configured")?;
        let damaged = "it is damaged, or sealed by another key";
        let (salt, rest) = rest.split_at_checked(SALT_LEN).ok_or(damaged)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).or(Err(damaged))?;
        let derived = key.derive(salt).ok_or(damaged)?;
        let mut text = sealed.to_vec();
        let length = derived
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut text)
            .map(|plain| plain.len())
            .or(Err(damaged))?;
        text.truncate(length);
        Ok(text)
    }

    fn derive(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let prk = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let info = [b"bulla agent data folder".as_slice()];
        let okm = prk.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}
