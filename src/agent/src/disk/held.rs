//! What the agent holds for its workloads: entries, SVIDs with their keys, and
//! federated bundles. With it an agent that restarts while the server is away
//! serves every SVID that has not expired.

use std::collections::HashMap;
use std::sync::Arc;

use api::convert::{
    EntryContext, bundle_from_wire, bundle_to_wire, entry_from_wire, entry_to_wire,
};
use api::types;
use bytes::Bytes;
use identity::{Bundle, Entry, EntryId, PrivateKeyDer, Timestamp, TrustDomain, X509Svid};
use prost::Message;
use workload::Issued;
use zeroize::Zeroizing;

use super::{DiskError, Folder};
use crate::limits;

const FILE: &str = "workloads.bin";
const SCHEMA: u32 = 1;

/// An X.509-SVID with its key, for one entry.
#[derive(Clone, Debug)]
pub(crate) struct HeldSvid {
    pub(crate) entry_id: EntryId,
    pub(crate) issued: Arc<Issued>,
}

/// Everything held.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldState {
    /// The server's position these entries are of.
    pub(crate) position: Bytes,
    /// The server's digest of this view.
    pub(crate) view_digest: Bytes,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) svids: Vec<HeldSvid>,
    pub(crate) federated: Vec<Arc<Bundle>>,
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    schema: u32,
    #[prost(bytes = "bytes", tag = "2")]
    position: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    view_digest: Bytes,
    #[prost(message, repeated, tag = "4")]
    entries: Vec<types::Entry>,
    #[prost(message, repeated, tag = "5")]
    svids: Vec<StoredSvid>,
    #[prost(message, repeated, tag = "6")]
    federated: Vec<types::Bundle>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredSvid {
    #[prost(string, tag = "1")]
    entry_id: String,
    #[prost(int64, tag = "2")]
    received_at: i64,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    chain: Vec<Bytes>,
    #[prost(bytes = "vec", tag = "4")]
    key: Vec<u8>,
    #[prost(int64, tag = "5")]
    not_before: i64,
    #[prost(int64, tag = "6")]
    not_after: i64,
}

impl HeldState {
    /// What the folder holds; `None` when nothing was kept. What cannot be read
    /// is left out and counted, so that one bad record costs one workload.
    pub(crate) fn load(
        folder: &Folder,
        trust_domain: &TrustDomain,
    ) -> Result<Option<(Self, usize)>, DiskError> {
        let Some(bytes) = folder.read(FILE, limits::FILE_BYTES)? else {
            return Ok(None);
        };
        let bytes = Zeroizing::new(bytes);
        let damaged = |why: String| DiskError::Damaged {
            path: folder.file(FILE),
            why,
        };
        let stored = Stored::decode(bytes.as_slice()).map_err(|e| damaged(e.to_string()))?;
        if stored.schema != SCHEMA {
            return Err(damaged(format!("schema {} is not {SCHEMA}", stored.schema)));
        }
        Ok(Some(stored.open(trust_domain)))
    }

    /// Stores this state in place of the one before.
    pub(crate) fn store(&self, folder: &Folder) -> Result<(), DiskError> {
        let stored = Stored {
            schema: SCHEMA,
            position: self.position.clone(),
            view_digest: self.view_digest.clone(),
            entries: self
                .entries
                .iter()
                .map(|e| entry_to_wire(e, None))
                .collect(),
            svids: self.svids.iter().map(StoredSvid::of).collect(),
            federated: self
                .federated
                .iter()
                .map(|b| bundle_to_wire(b, None))
                .collect(),
        };
        let bytes = Zeroizing::new(stored.encode_to_vec());
        folder.write(FILE, &bytes)
    }

    /// Removes what is kept: the agent was banned.
    pub(crate) fn remove(folder: &Folder) -> Result<(), DiskError> {
        folder.remove(FILE)
    }
}

impl Stored {
    fn open(self, trust_domain: &TrustDomain) -> (HeldState, usize) {
        let mut bad = 0;
        let mut count = |n: usize| bad += n;
        let entries = keep(&self.entries, &mut count, |e| open_entry(e, trust_domain));
        let by_id: HashMap<&str, &Arc<Entry>> =
            entries.iter().map(|e| (e.id.as_str(), e)).collect();
        let svids = keep(&self.svids, &mut count, |s| s.open(&by_id));
        let federated = keep(&self.federated, &mut count, |b| {
            bundle_from_wire(b).ok().map(Arc::new)
        });
        let state = HeldState {
            // A view with holes is not the view of this position: ask anew.
            position: if bad == 0 {
                self.position
            } else {
                Bytes::new()
            },
            view_digest: self.view_digest,
            entries,
            svids,
            federated,
        };
        (state, bad)
    }
}

fn keep<S, T>(stored: &[S], bad: &mut impl FnMut(usize), open: impl Fn(&S) -> Option<T>) -> Vec<T> {
    let kept: Vec<T> = stored.iter().filter_map(open).collect();
    bad(stored.len() - kept.len());
    kept
}

fn open_entry(wire: &types::Entry, trust_domain: &TrustDomain) -> Option<Arc<Entry>> {
    entry_from_held(wire, trust_domain).ok()
}

/// Reads an entry as the server sent it.
pub(crate) fn entry_from_held(
    wire: &types::Entry,
    trust_domain: &TrustDomain,
) -> Result<Arc<Entry>, String> {
    let id = EntryId::parse(&wire.id).map_err(|e| e.to_string())?;
    let context = EntryContext {
        id,
        created_at: Timestamp(wire.created_at),
    };
    let mut fields = entry_from_wire(wire, context).map_err(|e| e.to_string())?;
    fields.revision = wire.revision_number;
    Entry::new(fields, trust_domain)
        .map(Arc::new)
        .map_err(|e| e.to_string())
}

impl StoredSvid {
    fn of(held: &HeldSvid) -> Self {
        let Issued {
            svid,
            key,
            received_at,
        } = &*held.issued;
        Self {
            entry_id: held.entry_id.to_string(),
            received_at: received_at.0,
            chain: svid
                .chain
                .iter()
                .map(|c| Bytes::copy_from_slice(c))
                .collect(),
            key: key.secret_pkcs8().to_vec(),
            not_before: svid.not_before.0,
            not_after: svid.not_after.0,
        }
    }

    fn open(&self, entries: &HashMap<&str, &Arc<Entry>>) -> Option<HeldSvid> {
        let entry = entries.get(self.entry_id.as_str())?;
        let svid = X509Svid {
            spiffe_id: entry.spiffe_id.clone(),
            chain: self.chain.iter().map(|c| Arc::from(c.as_ref())).collect(),
            not_before: Timestamp(self.not_before),
            not_after: Timestamp(self.not_after),
        };
        Some(HeldSvid {
            entry_id: entry.id.clone(),
            issued: Arc::new(Issued {
                svid,
                key: PrivateKeyDer::new(&self.key),
                received_at: Timestamp(self.received_at),
            }),
        })
    }
}

impl Drop for StoredSvid {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.key.zeroize();
    }
}
