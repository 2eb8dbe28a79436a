//! Where signing keys are kept: the trait and what is common to every storage.

use std::sync::Arc;

use ring::rand::SecureRandom;

use crate::{KeyError, KeyType, Signer};

/// The longest key id, in bytes.
pub const MAX_KEY_ID_BYTES: usize = 100;

/// The most keys one storage holds. A server has a handful; more is a runaway.
pub const MAX_KEYS: usize = 1000;

/// How well a storage guards its secrets, as status output reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Only in this process's memory: gone after a restart.
    Memory,
    /// On disk, encrypted under a secret kept elsewhere.
    Sealed,
    /// On disk, readable by whoever reads the disk.
    Unsealed,
    /// In a PKCS#11 token, which never gives it out.
    Pkcs11,
    /// In AWS KMS, which never gives it out.
    AwsKms,
}

impl Protection {
    /// The word status output uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sealed => "sealed",
            Self::Unsealed => "unsealed",
            Self::Pkcs11 => "pkcs11",
            Self::AwsKms => "aws-kms",
        }
    }
}

/// Keeps signing keys by id. All calls may block.
pub trait KeyStorage: Send + Sync {
    /// Makes a new key and keeps it; it is durable when this returns.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when the id is taken: nothing is ever overwritten.
    fn create(
        &self,
        id: &str,
        key_type: KeyType,
        rng: &dyn SecureRandom,
    ) -> Result<Arc<dyn Signer>, StorageError>;

    /// The key of that id, or `None` when there is none.
    ///
    /// # Errors
    /// When the key exists but cannot be read, opened or trusted.
    fn load(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError>;

    /// Forgets a key. Removing one that is not there is no error.
    ///
    /// # Errors
    /// When the storage cannot be written.
    fn remove(&self, id: &str) -> Result<(), StorageError>;

    /// The ids of all keys, sorted.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn list(&self) -> Result<Vec<String>, StorageError>;

    /// How well the secrets are guarded.
    fn protection(&self) -> Protection;
}

/// What went wrong with a key storage. Never holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The id is not a plain name.
    #[error(
        "key id {0:?} is not allowed; use 1 to {MAX_KEY_ID_BYTES} of a-z, 0-9, '-', '_' and '.', not beginning with '.'"
    )]
    BadId(String),
    /// A key of that id exists already.
    #[error("key {0:?} exists already; choose another id or remove it first")]
    Exists(String),
    /// There are [`MAX_KEYS`] keys already.
    #[error("{MAX_KEYS} keys are stored already; remove those no longer needed")]
    Full,
    /// A directory or file may be read or written by others.
    #[error("{path} has mode {mode:04o}, owner {owner}; run: {remedy}")]
    LooseMode {
        /// The directory or file.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
        /// The command that repairs it.
        remedy: String,
    },
    /// The storage was sealed with a secret other than the one given, or it
    /// was sealed and none was given, or the other way round.
    #[error("key directory {path}: {what}")]
    Seal {
        /// The directory.
        path: String,
        /// What does not fit, and what to do.
        what: &'static str,
    },
    /// A file is not what was written: damaged, cut, swapped or edited.
    #[error("key file {path} is damaged or was tampered with ({what}); restore it from a backup")]
    Damaged {
        /// The file.
        path: String,
        /// Which check failed.
        what: &'static str,
    },
    /// The file system refused.
    #[error("cannot {what} {path}")]
    Io {
        /// The operation.
        what: &'static str,
        /// The directory or file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process holds the directory.
    #[error("key directory {0} is in use by another process; two servers never share one")]
    InUse(String),
    /// A storage outside this machine's memory and disk does not answer now.
    #[error("{storage} cannot be used now: {why}")]
    Away {
        /// Which storage.
        storage: String,
        /// What it said, or that it said nothing.
        why: String,
    },
    /// A storage outside this machine's memory and disk refuses, and would again.
    #[error("{storage} refuses: {why}")]
    Denied {
        /// Which storage.
        storage: String,
        /// What it said, and what to do.
        why: String,
    },
    /// A key is there, but must not be used.
    #[error("key {id:?} in {storage} must not be used: {why}")]
    Unfit {
        /// The key's id.
        id: String,
        /// Which storage.
        storage: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The key itself could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Checks a key id: it becomes a file name, so it is a plain one.
///
/// # Errors
/// [`StorageError::BadId`].
pub fn check_key_id(id: &str) -> Result<(), StorageError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    let good = !id.is_empty()
        && id.len() <= MAX_KEY_ID_BYTES
        && !id.starts_with('.')
        && id.bytes().all(plain);
    if good {
        Ok(())
    } else {
        Err(StorageError::BadId(id.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_file_names() {
        for good in ["x509-0", "a", "jwt_1.2"] {
            assert!(check_key_id(good).is_ok(), "{good}");
        }
        let long = "a".repeat(MAX_KEY_ID_BYTES + 1);
        for bad in [
            "",
            ".",
            "..",
            ".a",
            "a/b",
            "A",
            "a b",
            "a\0",
            "é",
            long.as_str(),
        ] {
            assert!(check_key_id(bad).is_err(), "{bad}");
        }
    }
}
