//! A token as the storage of a server's signing keys.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::object::ObjectClass;
use keys::{KeyStorage, KeyType, MAX_KEYS, Protection, Signer, StorageError, check_key_id};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::find::{self, Lookup};
use crate::generate;
use crate::limits;
use crate::signer::TokenSigner;
use crate::token::Token;

/// Which token, and how it is used. `Debug` is not implemented: it holds the PIN.
pub struct TokenOptions {
    /// The token's PKCS#11 library. It runs in this process.
    pub module: PathBuf,
    /// The token's label; exactly one token must have it.
    pub token: String,
    /// The user PIN, 1 to 255 bytes.
    pub pin: Zeroizing<Vec<u8>>,
    /// What our keys' labels begin with, so that a token can hold others.
    pub label_prefix: String,
    /// Sessions at one time, 1 to 256; `None` is 8.
    pub sessions: Option<u16>,
}

/// Signing keys in one token.
pub struct TokenKeys {
    token: Arc<Token>,
    name: Arc<str>,
    prefix: String,
    /// One change at a time: looking for a label and taking it must not interleave.
    changing: Mutex<()>,
}

impl TokenKeys {
    /// Loads the library, finds the token and logs in.
    ///
    /// # Errors
    /// The library cannot be loaded, no token or more than one has the label, or it
    /// refuses the PIN.
    pub fn open(options: &TokenOptions) -> Result<Self, StorageError> {
        let name: Arc<str> = format!("PKCS#11 token {:?}", options.token).into();
        let sessions = options.sessions.unwrap_or(limits::SESSIONS);
        let token = Token::open(&options.module, &options.token, &options.pin, sessions)
            .map_err(|fault| fault.storage(&name))?;
        Ok(Self {
            token: Arc::new(token),
            name,
            prefix: options.label_prefix.clone(),
            changing: Mutex::new(()),
        })
    }

    fn label(&self, id: &str) -> Vec<u8> {
        format!("{}{id}", self.prefix).into_bytes()
    }

    fn find(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        let label = self.label(id);
        let looked = self.token.with(|session, generation| {
            find::key(session, &label).map(|found| (found, generation))
        });
        match looked.map_err(|fault| fault.storage(&self.name))? {
            (Lookup::Missing, _) => Ok(None),
            (Lookup::Unfit(why), _) => Err(self.unfit(id, why)),
            (Lookup::Found(found), generation) => Ok(Some(Arc::new(TokenSigner {
                token: Arc::clone(&self.token),
                name: Arc::clone(&self.name),
                label,
                public_key: found.public_key,
                handle: Mutex::new(Some((generation, found.private))),
            }))),
        }
    }

    fn unfit(&self, id: &str, why: &'static str) -> StorageError {
        StorageError::Unfit {
            id: id.to_owned(),
            storage: self.name.to_string(),
            why,
        }
    }

    /// Removes whatever has the label, both halves. The private one goes first: a
    /// public half that a crash leaves behind signs nothing.
    fn destroy(&self, id: &str) -> Result<(), StorageError> {
        let label = self.label(id);
        let done = self.token.with_writing(|session| {
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                for object in find::objects(session, class, &label)? {
                    session.destroy_object(object)?;
                }
            }
            Ok(())
        });
        done.map_err(|fault| fault.storage(&self.name))
    }
}

impl KeyStorage for TokenKeys {
    /// The token makes the key with its own randomness; what is handed out has proved
    /// that it signs.
    fn create(
        &self,
        id: &str,
        key_type: KeyType,
        _rng: &dyn SecureRandom,
    ) -> Result<Arc<dyn Signer>, StorageError> {
        check_key_id(id)?;
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find(id)?.is_some() {
            return Err(StorageError::Exists(id.to_owned()));
        }
        if self.list()?.len() >= MAX_KEYS {
            return Err(StorageError::Full);
        }
        // A public half without its private one is what a crash left of a removal.
        self.destroy(id)?;
        let label = self.label(id);
        let made = self
            .token
            .write_once(|session| generate::pair(session, key_type, &label));
        made.map_err(|fault| fault.storage(&self.name))?;
        let signer = self
            .find(id)?
            .ok_or_else(|| self.unfit(id, "it vanished after it was made"))?;
        match signer.sign(b"a new key proves that it signs") {
            Ok(_) => Ok(signer),
            Err(error) => {
                tracing::error!(id, %error, "a new key does not sign and is removed");
                self.destroy(id)?;
                Err(self.unfit(id, "it does not sign"))
            }
        }
    }

    fn load(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        check_key_id(id)?;
        self.find(id)
    }

    fn remove(&self, id: &str) -> Result<(), StorageError> {
        check_key_id(id)?;
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.destroy(id)
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        let prefix = self.prefix.as_bytes();
        let labels = self.token.with(|session, _| find::labels(session, prefix));
        let labels = labels.map_err(|fault| fault.storage(&self.name))?;
        let texts = labels.into_iter().filter_map(|l| String::from_utf8(l).ok());
        let mut ids: Vec<String> = texts.filter(|id| check_key_id(id).is_ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn protection(&self) -> Protection {
        Protection::Pkcs11
    }
}
