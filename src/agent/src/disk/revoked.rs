//! The newest list of what is revoked, so that an agent that restarts while its
//! server is away accepts nothing that it refused before.

use std::sync::Arc;

use bytes::Bytes;
use identity::TrustDomain;
use prost::Message;
use verify::Revocations;

use super::{DiskError, Folder};
use crate::hub::RevocationNews;
use crate::limits;

const FILE: &str = "revocations.bin";
const SCHEMA: u32 = 1;

/// The list, as stored.
pub(crate) struct KeptRevocations;

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    schema: u32,
    #[prost(string, tag = "2")]
    list: String,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    crls: Vec<Bytes>,
}

impl KeptRevocations {
    /// The stored list; `None` when there is none. It was believed when it came, and
    /// the folder is ours: the key that signed it may have left since.
    pub(crate) fn load(
        folder: &Folder,
        trust_domain: &TrustDomain,
    ) -> Result<Option<RevocationNews>, DiskError> {
        let Some(bytes) = folder.read(FILE, limits::SMALL_FILE_BYTES)? else {
            return Ok(None);
        };
        decode(&bytes, trust_domain)
            .map(Some)
            .map_err(|why| DiskError::Damaged {
                path: folder.file(FILE),
                why,
            })
    }

    /// Stores a list in place of the one before.
    pub(crate) fn store(folder: &Folder, news: &RevocationNews) -> Result<(), DiskError> {
        let stored = Stored {
            schema: SCHEMA,
            list: news.list.as_ref().to_owned(),
            crls: news.crls.to_vec(),
        };
        folder.write(FILE, &stored.encode_to_vec())
    }
}

fn decode(bytes: &[u8], trust_domain: &TrustDomain) -> Result<RevocationNews, String> {
    let stored = Stored::decode(bytes).map_err(|e| e.to_string())?;
    if stored.schema != SCHEMA {
        return Err(format!("schema {} is not {SCHEMA}", stored.schema));
    }
    let revocations =
        Revocations::reread(&stored.list, trust_domain).map_err(|fault| fault.to_string())?;
    Ok(RevocationNews {
        revocations: Arc::new(revocations),
        list: stored.list.into(),
        crls: stored.crls.into(),
    })
}
