//! Signing keys kept elsewhere, by somebody who works, is away, says nothing, or lies.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use keys::memory::MemoryKeys;
use keys::{KeyStorage, KeyType, Protection, PublicKey, SignError, Signer, StorageError};
use ring::rand::SecureRandom;

/// How the keeper of keys is.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(crate) enum Mood {
    #[default]
    Works,
    /// Says that it cannot now.
    Away,
    /// Says nothing at all.
    Hangs,
    /// Gives a signature of something else.
    Lies,
}

/// The keeper of keys.
#[derive(Default)]
pub(crate) struct Far {
    /// By the start of the keys' ids, such as `jwt`.
    moods: Mutex<BTreeMap<&'static str, Mood>>,
    changed: Condvar,
    keys: MemoryKeys,
}

/// The keeper as a key storage.
pub(crate) struct FarStorage(pub(crate) Arc<Far>);

struct FarSigner {
    far: Arc<Far>,
    id: String,
    key: Arc<dyn Signer>,
}

impl Far {
    /// From now on all keys are signed with like this.
    pub(crate) fn set(&self, mood: Mood) {
        self.set_of("", mood);
    }

    /// From now on the keys whose ids start so are signed with like this.
    pub(crate) fn set_of(&self, keys: &'static str, mood: Mood) {
        self.moods.lock().unwrap().insert(keys, mood);
        self.changed.notify_all();
    }
}

impl FarStorage {
    fn far(&self, id: &str, key: Arc<dyn Signer>) -> Arc<dyn Signer> {
        let far = Arc::clone(&self.0);
        let id = id.to_owned();
        Arc::new(FarSigner { far, id, key })
    }
}

impl FarSigner {
    fn mood(&self, moods: &BTreeMap<&'static str, Mood>) -> Mood {
        // The longest start says most.
        let mut moods = moods.iter().rev();
        let found = moods.find(|(keys, _)| self.id.starts_with(**keys));
        found.map_or(Mood::Works, |(_, mood)| *mood)
    }
}

impl Signer for FarSigner {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let moods = self.far.moods.lock().unwrap();
        let hangs = |moods: &mut BTreeMap<_, _>| self.mood(moods) == Mood::Hangs;
        let moods = self.far.changed.wait_while(moods, hangs).unwrap();
        match self.mood(&moods) {
            Mood::Away => Err(SignError::Unavailable("nobody is at home".into())),
            Mood::Lies => self.key.sign(b"something else"),
            _ => self.key.sign(message),
        }
    }

    fn is_remote(&self) -> bool {
        true
    }
}

impl KeyStorage for FarStorage {
    fn create(
        &self,
        id: &str,
        key_type: KeyType,
        rng: &dyn SecureRandom,
    ) -> Result<Arc<dyn Signer>, StorageError> {
        Ok(self.far(id, self.0.keys.create(id, key_type, rng)?))
    }

    fn load(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        let found = self.0.keys.load(id)?;
        Ok(found.map(|key| self.far(id, key)))
    }

    fn remove(&self, id: &str) -> Result<(), StorageError> {
        self.0.keys.remove(id)
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.0.keys.list()
    }

    fn protection(&self) -> Protection {
        Protection::Pkcs11
    }
}
