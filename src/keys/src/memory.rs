//! Keys in this process's memory: the signer every local storage ends in, and a
//! storage for tests and `dev` runs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};

use crate::spki;
use crate::storage::{KeyStorage, MAX_KEYS, Protection, StorageError, check_key_id};
use crate::{KeyError, KeyType, PublicKey, SignError, Signer, generate};

/// A signing key held in memory by ring.
///
/// The PKCS#8 bytes it is made from are wiped by their owner
/// ([`crate::generate_pkcs8`], the file storage); ring's own expanded copy lives
/// until the signer is dropped and is not wiped by ring.
pub struct MemorySigner {
    pair: Pair,
    public_key: PublicKey,
    nonces: SystemRandom,
}

enum Pair {
    Ecdsa(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

impl MemorySigner {
    /// Makes a new key that exists nowhere else.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`] when `rng` fails.
    pub fn generate(key_type: KeyType, rng: &dyn SecureRandom) -> Result<Self, KeyError> {
        Self::from_pkcs8(&generate::secret(key_type, rng)?)
    }

    /// Reads a PKCS#8 private key. ring checks that the halves belong together.
    ///
    /// # Errors
    /// [`KeyError::Encoding`] for anything but a key of one of the [`KeyType`]s.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let nonces = nonces();
        for algorithm in [
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &ECDSA_P384_SHA384_ASN1_SIGNING,
        ] {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &nonces) {
                let spki =
                    spki::from_point(pair.public_key().as_ref()).ok_or(KeyError::Encoding)?;
                return Self::new(Pair::Ecdsa(Box::new(pair)), &spki, nonces);
            }
        }
        let pair = RsaKeyPair::from_pkcs8(pkcs8).or(Err(KeyError::Encoding))?;
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
        let numbers = spki::check_rsa(&public.n, &public.e).or(Err(KeyError::Encoding))?;
        let spki = spki::encode(&numbers);
        Self::new(Pair::Rsa(Box::new(pair)), &spki, nonces)
    }

    fn new(pair: Pair, spki: &[u8], nonces: SystemRandom) -> Result<Self, KeyError> {
        let public_key = PublicKey::from_spki(spki).or(Err(KeyError::Encoding))?;
        Ok(Self {
            pair,
            public_key,
            nonces,
        })
    }
}

const NO_NONCE: SignError =
    SignError::Unavailable(Cow::Borrowed("the source of randomness failed"));

/// ring asks for a source at each ECDSA signature, which it mixes with the key
/// and the message; its trait is sealed, so there is nothing to inject.
#[expect(
    clippy::disallowed_methods,
    reason = "signature nonces come from the system; nothing decides by them"
)]
fn nonces() -> SystemRandom {
    SystemRandom::new()
}

impl Signer for MemorySigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            Pair::Ecdsa(pair) => pair
                .sign(&self.nonces, message)
                .map(|signature| signature.as_ref().to_vec())
                .or(Err(NO_NONCE)),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.nonces, message, &mut signature)
                    .or(Err(NO_NONCE))?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for MemorySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySigner({})", self.public_key.key_type())
    }
}

/// Keys that live as long as the process.
#[derive(Default)]
pub struct MemoryKeys {
    keys: Mutex<BTreeMap<String, Arc<MemorySigner>>>,
}

impl MemoryKeys {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<MemorySigner>>> {
        // Every change is one insert or remove: a panic elsewhere leaves no half state.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStorage for MemoryKeys {
    fn create(
        &self,
        id: &str,
        key_type: KeyType,
        rng: &dyn SecureRandom,
    ) -> Result<Arc<dyn Signer>, StorageError> {
        check_key_id(id)?;
        let signer = Arc::new(MemorySigner::generate(key_type, rng)?);
        let mut keys = self.locked();
        if keys.len() >= MAX_KEYS {
            return Err(StorageError::Full);
        }
        match keys.entry(id.to_owned()) {
            std::collections::btree_map::Entry::Occupied(_) => {
                Err(StorageError::Exists(id.to_owned()))
            }
            std::collections::btree_map::Entry::Vacant(slot) => {
                Ok(Arc::<MemorySigner>::clone(slot.insert(signer)))
            }
        }
    }

    fn load(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        check_key_id(id)?;
        let found = self.locked().get(id).cloned();
        Ok(found.map(|signer| signer as Arc<dyn Signer>))
    }

    fn remove(&self, id: &str) -> Result<(), StorageError> {
        check_key_id(id)?;
        self.locked().remove(id);
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        Ok(self.locked().keys().cloned().collect())
    }

    fn protection(&self) -> Protection {
        Protection::Memory
    }
}
