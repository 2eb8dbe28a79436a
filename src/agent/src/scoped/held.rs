//! The active policy set as far as a node needs it: its name, so that tokens of an
//! older one are not handed out, and its catalogue, so that services can ask which
//! permission a call needs. Policies themselves stay on the server.

use std::sync::{Arc, PoisonError, RwLock};

use policy::{Catalogue, SourceFile};
use prost::Message;

use crate::disk::{DiskError, Folder};
use crate::limits;

const FILE: &str = "policy.bin";
const SCHEMA: u32 = 1;

/// What is known of the active policy set.
pub(crate) struct PolicyHeld {
    /// Its digest.
    pub(crate) digest: String,
    /// What access tokens name in `iss`.
    pub(crate) issuer: String,
    /// `None` when it cannot be read here: then no endpoint is mapped.
    pub(crate) catalogue: Option<Catalogue>,
}

/// Where it is kept.
#[derive(Default)]
pub(crate) struct PolicySlot(RwLock<Option<Arc<PolicyHeld>>>);

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    schema: u32,
    #[prost(string, tag = "2")]
    digest: String,
    #[prost(string, tag = "3")]
    issuer: String,
    #[prost(message, repeated, tag = "4")]
    files: Vec<api::sync::CatalogueFile>,
}

impl PolicySlot {
    /// What is held; `None` when no policy set is active, or none was heard of yet.
    pub(crate) fn get(&self) -> Option<Arc<PolicyHeld>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The digest of what is held; empty when there is nothing.
    pub(crate) fn digest(&self) -> String {
        self.get()
            .map(|held| held.digest.clone())
            .unwrap_or_default()
    }

    /// Takes another in place of the one before.
    pub(crate) fn set(&self, held: Option<PolicyHeld>) {
        let held = held.map(Arc::new);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

impl PolicyHeld {
    /// Reads what the server sent.
    ///
    /// # Errors
    /// The catalogue's first fault.
    pub(crate) fn read(
        digest: String,
        issuer: String,
        files: &[api::sync::CatalogueFile],
    ) -> Result<Self, String> {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|file| SourceFile {
                name: file.name.clone(),
                text: file.text.clone(),
            })
            .collect();
        let catalogue = Catalogue::read(&files).map_err(|faults| {
            let first = faults.first().map(ToString::to_string);
            first.unwrap_or_default()
        })?;
        Ok(Self {
            digest,
            issuer,
            catalogue: Some(catalogue),
        })
    }

    /// What an earlier run stored; `None` when there is nothing.
    pub(crate) fn load(folder: &Folder) -> Result<Option<Self>, DiskError> {
        let Some(bytes) = folder.read(FILE, limits::POLICY_FILE_BYTES)? else {
            return Ok(None);
        };
        let damaged = |why: String| DiskError::Damaged {
            path: folder.file(FILE),
            why,
        };
        let stored = Stored::decode(&*bytes).map_err(|e| damaged(e.to_string()))?;
        if stored.schema != SCHEMA {
            return Err(damaged(format!("schema {} is not {SCHEMA}", stored.schema)));
        }
        if stored.digest.is_empty() {
            return Ok(None);
        }
        let held = Self::read(stored.digest, stored.issuer, &stored.files);
        held.map(Some).map_err(damaged)
    }

    /// Stores a policy set, or that there is none, in place of the one before.
    pub(crate) fn store(
        folder: &Folder,
        digest: &str,
        issuer: &str,
        files: &[api::sync::CatalogueFile],
    ) -> Result<(), DiskError> {
        let stored = Stored {
            schema: SCHEMA,
            digest: digest.to_owned(),
            issuer: issuer.to_owned(),
            files: files.to_vec(),
        };
        folder.write(FILE, &stored.encode_to_vec())
    }
}
