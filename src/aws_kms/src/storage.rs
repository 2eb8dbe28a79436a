//! KMS as the storage of a server's signing keys.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keys::{
    KeyStorage, KeyType, MAX_KEYS, Protection, PublicKey, Signer, StorageError, check_key_id,
};
use ring::rand::SecureRandom;
use serde_json::{Value, json};

use crate::call::{Kms, Parts};
use crate::credentials::{CredentialsFrom, Keeper};
use crate::endpoint::Endpoint;
use crate::exchange::{Connections, tls_config};
use crate::fault::{Fault, NAME};
use crate::limits;
use crate::signer::KmsSigner;

/// Which keys, and how KMS is reached. `Debug` is not implemented: it holds secrets.
pub struct KmsOptions {
    /// The region, such as `eu-central-1`.
    pub region: String,
    /// Where KMS is; [`Endpoint::of_region`] is the usual place.
    pub endpoint: Endpoint,
    /// Certificates (PEM) of the authorities that vouch for it; `None` takes the
    /// system's.
    pub authorities: Option<Vec<u8>>,
    /// By whose right.
    pub credentials: CredentialsFrom,
    /// What our keys' aliases begin with, after `alias/`: 1 to 200 of a-z, A-Z, 0-9, '/',
    /// '_' and '-'.
    pub alias_prefix: String,
    /// How long one signature may take, retries included.
    pub budget: Duration,
    /// The wall clock, in Unix seconds.
    pub now: Box<dyn Fn() -> i64 + Send + Sync>,
}

/// Signing keys in KMS.
pub struct KmsKeys {
    kms: Arc<Kms>,
    prefix: String,
    budget: Duration,
    /// One change at a time: looking for an alias and taking it must not interleave.
    changing: Mutex<()>,
}

/// A key as KMS describes it.
struct Described {
    key_id: String,
    state: String,
}

impl KmsKeys {
    /// Prepares to use it, and asks it for the keys there are: wrong credentials are
    /// noticed at once.
    ///
    /// # Errors
    /// KMS cannot be reached or does not let us in.
    pub fn open(options: KmsOptions) -> Result<Self, StorageError> {
        let denied = |why: String| StorageError::Denied {
            storage: NAME.to_owned(),
            why,
        };
        let tls = if options.endpoint.tls {
            Some(tls_config(options.authorities.as_deref()).map_err(denied)?)
        } else {
            None
        };
        let parts = Parts {
            connections: Connections::new(options.endpoint, tls),
            credentials: Keeper::new(options.credentials),
            region: options.region,
            now: options.now,
        };
        let opened = Self {
            kms: Arc::new(Kms::new(parts).map_err(denied)?),
            prefix: format!("alias/{}/", options.alias_prefix),
            budget: options.budget,
            changing: Mutex::new(()),
        };
        opened.list()?;
        Ok(opened)
    }

    /// Aliases have no dots.
    fn alias(&self, id: &str) -> String {
        format!("{}{}", self.prefix, id.replace('.', "/"))
    }

    fn call(&self, operation: &'static str, body: &Value) -> Result<Value, Fault> {
        self.kms.call(operation, body, limits::CHANGE_BUDGET)
    }

    fn unfit(id: &str, why: &'static str) -> StorageError {
        StorageError::Unfit {
            id: id.to_owned(),
            storage: NAME.to_owned(),
            why,
        }
    }

    /// What the alias of a key leads to.
    fn describe(&self, id: &str) -> Result<Option<Described>, StorageError> {
        let answer = match self.call("DescribeKey", &json!({"KeyId": self.alias(id)})) {
            Err(fault) if fault.is("NotFoundException") => return Ok(None),
            answer => answer.map_err(Fault::storage)?,
        };
        let key = answer.get("KeyMetadata").unwrap_or(&Value::Null);
        let field = |name: &str| {
            let text = key.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        if field("KeyUsage") != "SIGN_VERIFY" {
            return Err(Self::unfit(id, "it is not for signing"));
        }
        if field("Origin") == "EXTERNAL" {
            return Err(Self::unfit(
                id,
                "it was imported, so it exists outside of KMS",
            ));
        }
        Ok(Some(Described {
            key_id: field("KeyId"),
            state: field("KeyState"),
        }))
    }

    fn signer(&self, id: &str, key_id: String) -> Result<Arc<dyn Signer>, StorageError> {
        let answer = self.call("GetPublicKey", &json!({"KeyId": &key_id}));
        let answer = answer.map_err(Fault::storage)?;
        let spki = answer.get("PublicKey").and_then(Value::as_str);
        let spki = spki.and_then(|text| BASE64_STANDARD.decode(text).ok());
        let public_key = spki.and_then(|spki| PublicKey::from_spki(&spki).ok());
        Ok(Arc::new(KmsSigner {
            kms: Arc::clone(&self.kms),
            key_id,
            public_key: public_key.ok_or_else(|| {
                Self::unfit(id, "it is not of a type that this product signs with")
            })?,
            budget: self.budget,
        }))
    }

    /// Makes a key under its alias and gives its id. An alias that somebody else took
    /// meanwhile wins.
    fn make(&self, id: &str, key_type: KeyType) -> Result<String, StorageError> {
        let spec = match key_type {
            KeyType::EcP256 => "ECC_NIST_P256",
            KeyType::EcP384 => "ECC_NIST_P384",
            KeyType::Rsa2048 => "RSA_2048",
            KeyType::Rsa4096 => "RSA_4096",
        };
        let alias = self.alias(id);
        let made = self.call(
            "CreateKey",
            &json!({
                "KeySpec": spec,
                "KeyUsage": "SIGN_VERIFY",
                "Description": format!("Bulla signing key; without {alias} it is a leftover"),
                "Tags": [{"TagKey": "bulla", "TagValue": alias}],
            }),
        );
        let made = made.map_err(Fault::storage)?;
        let key_id = made.pointer("/KeyMetadata/KeyId").and_then(Value::as_str);
        let key_id = key_id.ok_or_else(|| Self::unfit(id, "KMS made a key without an id"))?;
        let named = json!({"AliasName": alias, "TargetKeyId": key_id});
        if let Err(fault) = self.call("CreateAlias", &named) {
            self.schedule_deletion(key_id)?;
            return Err(if fault.is("AlreadyExistsException") {
                StorageError::Exists(id.to_owned())
            } else {
                fault.storage()
            });
        }
        Ok(key_id.to_owned())
    }

    fn schedule_deletion(&self, key_id: &str) -> Result<(), StorageError> {
        let asked = json!({"KeyId": key_id, "PendingWindowInDays": limits::DELETION_DAYS});
        match self.call("ScheduleKeyDeletion", &asked) {
            // Scheduled already.
            Err(fault) if fault.is("KMSInvalidStateException") => Ok(()),
            done => done.map(|_| ()).map_err(Fault::storage),
        }
    }

    /// The key first, then its name: what a crash leaves behind is found again.
    fn destroy(&self, id: &str) -> Result<(), StorageError> {
        let Some(found) = self.describe(id)? else {
            return Ok(());
        };
        if found.state != "PendingDeletion" {
            self.schedule_deletion(&found.key_id)?;
        }
        match self.call("DeleteAlias", &json!({"AliasName": self.alias(id)})) {
            Err(fault) if fault.is("NotFoundException") => Ok(()),
            done => done.map(|_| ()).map_err(Fault::storage),
        }
    }

    fn find(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        match self.describe(id)? {
            None => Ok(None),
            Some(found) => match found.state.as_str() {
                "Enabled" => self.signer(id, found.key_id).map(Some),
                "PendingDeletion" | "PendingReplicaDeletion" => Ok(None),
                _ => Err(Self::unfit(id, "KMS says that it is not enabled")),
            },
        }
    }
}

impl KeyStorage for KmsKeys {
    /// KMS makes the key with its own randomness; what is handed out has proved that
    /// it signs.
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
        // A name that leads to a key on its way out is what a crash left.
        self.destroy(id)?;
        let key_id = self.make(id, key_type)?;
        let signer = self.signer(id, key_id.clone())?;
        match signer.sign(b"a new key proves that it signs") {
            Ok(_) => Ok(signer),
            Err(error) => {
                tracing::error!(id, %error, "a new key does not sign and is removed");
                self.destroy(id)?;
                Err(Self::unfit(id, "it does not sign"))
            }
        }
    }

    fn load(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        check_key_id(id)?;
        self.find(id)
    }

    /// KMS keeps a removed key for seven days, in which it signs nothing and could be
    /// saved by hand.
    fn remove(&self, id: &str) -> Result<(), StorageError> {
        check_key_id(id)?;
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.destroy(id)
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        let mut ids = Vec::new();
        let mut asked = json!({"Limit": 100});
        for _ in 0..limits::MAX_PAGES {
            let page = self.call("ListAliases", &asked).map_err(Fault::storage)?;
            let aliases = page.get("Aliases").and_then(Value::as_array);
            for alias in aliases.into_iter().flatten() {
                let name = alias.get("AliasName").and_then(Value::as_str);
                let ours = name.and_then(|name| name.strip_prefix(&self.prefix));
                let id = ours.map(|id| id.replace('/', "."));
                ids.extend(id.filter(|id| check_key_id(id).is_ok()));
            }
            match page.get("NextMarker").and_then(Value::as_str) {
                Some(marker) => asked = json!({"Limit": 100, "Marker": marker}),
                None => break,
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn protection(&self) -> Protection {
        Protection::AwsKms
    }
}
