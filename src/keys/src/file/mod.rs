//! Keys in files, one each, in a directory of their own.
//!
//! With a [`Seal`] each file is encrypted with AES-256-GCM under a key made of the
//! seal and the file's id, so that files cannot be swapped, edited or read by
//! whoever has only the disk. Without one the storage says so:
//! [`Protection::Unsealed`]. A seal kept beside the files would be no better, which
//! is why there is no such option.
//!
//! A file is on disk, with its directory entry, before its key is handed out.
//! Removing unlinks; what a medium keeps of old blocks is beyond a program's reach,
//! and the reason to seal.

mod convert;
mod disk;
mod seal;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ring::rand::SecureRandom;
use zeroize::Zeroizing;

pub use self::convert::seal_directory;
use self::disk::Directory;
pub use self::seal::{MIN_PASSPHRASE_BYTES, MIN_SECRET_BYTES, Seal};
use self::seal::{Master, SEAL_FILE, SEALING};
use crate::storage::{KeyStorage, MAX_KEYS, Protection, StorageError, check_key_id};
use crate::{KeyType, MemorySigner, Signer, generate};

const SUFFIX: &str = ".key";

/// Keys in one directory, which this process holds alone while it is open.
pub struct FileKeys {
    directory: Directory,
    master: Option<Master>,
    /// One change at a time: looking for an id and writing it must not interleave.
    changing: Mutex<()>,
}

impl FileKeys {
    /// Opens a directory, making it (mode 0700) when it is missing. A first seal
    /// is set up with randomness from `rng`. A passphrase takes a good part of a
    /// second to stretch.
    ///
    /// # Errors
    /// When the directory or a file in it may be read or written by others, when
    /// the seal is not the one the directory was sealed with, when another process
    /// holds it, or when the file system refuses.
    pub fn open(dir: &Path, seal: &Seal, rng: &dyn SecureRandom) -> Result<Self, StorageError> {
        let directory = Directory::open(dir)?;
        let master = open_seal(&directory, seal, rng)?;
        Ok(Self {
            directory,
            master,
            changing: Mutex::new(()),
        })
    }

    fn read(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        let name = file_name(id);
        let Some(file) = self.directory.read(&name)? else {
            return Ok(None);
        };
        let damaged = |what| StorageError::Damaged {
            path: self.directory.path_of(&name),
            what,
        };
        let pkcs8 = seal::unwrap(self.master.as_ref(), id, &file).map_err(damaged)?;
        let signer = MemorySigner::from_pkcs8(&pkcs8)?;
        Ok(Some(Arc::new(signer)))
    }
}

/// Makes the master key of the seal, after checking that it is the right one.
fn open_seal(
    directory: &Directory,
    seal: &Seal,
    rng: &dyn SecureRandom,
) -> Result<Option<Master>, StorageError> {
    let refused = |what| StorageError::Seal {
        path: directory.path(),
        what,
    };
    seal.check().map_err(refused)?;
    let stored = directory.read(SEAL_FILE)?;
    if directory.read(SEALING)?.is_some() {
        return Err(refused(
            "sealing it was begun and not finished; run `bulla server seal-keys` again",
        ));
    }
    match (seal, stored) {
        (Seal::None, None) => Ok(None),
        (Seal::None, Some(_)) => Err(refused(
            "it is sealed; give the passphrase or secret it was sealed with",
        )),
        (_, Some(stored)) => Master::reopen(seal, &stored).map(Some).map_err(refused),
        (_, None) => {
            if !directory.names(SUFFIX)?.is_empty() {
                return Err(refused(
                    "it holds unsealed keys; seal them with `bulla server seal-keys`, or open it without a seal",
                ));
            }
            let (master, file) = Master::create(seal, rng)?;
            directory.write(SEAL_FILE, &file)?;
            Ok(Some(master))
        }
    }
}

fn file_name(id: &str) -> String {
    format!("{id}{SUFFIX}")
}

impl KeyStorage for FileKeys {
    fn create(
        &self,
        id: &str,
        key_type: KeyType,
        rng: &dyn SecureRandom,
    ) -> Result<Arc<dyn Signer>, StorageError> {
        check_key_id(id)?;
        let pkcs8 = generate::secret(key_type, rng)?;
        let file: Zeroizing<Vec<u8>> = seal::wrap(self.master.as_ref(), id, &pkcs8, rng)?;
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = self.directory.names(SUFFIX)?;
        if ids.iter().any(|taken| taken == id) {
            return Err(StorageError::Exists(id.to_owned()));
        }
        if ids.len() >= MAX_KEYS {
            return Err(StorageError::Full);
        }
        self.directory.write(&file_name(id), &file)?;
        // What is handed out is what was read back: a key that cannot be loaded
        // again must not sign anything.
        self.read(id)?.ok_or_else(|| StorageError::Damaged {
            path: self.directory.path_of(&file_name(id)),
            what: "it vanished after it was written",
        })
    }

    fn load(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        check_key_id(id)?;
        self.read(id)
    }

    fn remove(&self, id: &str) -> Result<(), StorageError> {
        check_key_id(id)?;
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.directory.remove(&file_name(id))
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.directory.names(SUFFIX)
    }

    fn protection(&self) -> Protection {
        match self.master {
            Some(_) => Protection::Sealed,
            None => Protection::Unsealed,
        }
    }
}
