//! The agent's own key and SVID.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use identity::{PrivateKeyDer, SpiffeId, Timestamp, X509Svid};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{DiskError, Folder};
use crate::limits;

const FILE: &str = "agent.json";
const SCHEMA: u32 = 1;

/// The agent's key with what the server certified for it.
#[derive(Clone, Debug)]
pub(crate) struct OwnIdentity {
    pub(crate) svid: X509Svid,
    pub(crate) key: PrivateKeyDer,
    /// Whether the node may attest again by itself once its SVID has expired.
    pub(crate) reattestable: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: u32,
    spiffe_id: String,
    chain: Vec<String>,
    key: String,
    not_before: i64,
    not_after: i64,
    reattestable: bool,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl OwnIdentity {
    /// What the folder holds; `None` when the agent never enrolled.
    pub(crate) fn load(folder: &Folder) -> Result<Option<Self>, DiskError> {
        let Some(bytes) = folder.read(FILE, limits::SMALL_FILE_BYTES)? else {
            return Ok(None);
        };
        let bytes = Zeroizing::new(bytes);
        Self::decode(&bytes)
            .map(Some)
            .map_err(|why| DiskError::Damaged {
                path: folder.file(FILE),
                why,
            })
    }

    /// Stores this identity in place of the one before.
    pub(crate) fn store(&self, folder: &Folder) -> Result<(), DiskError> {
        folder.write(FILE, &self.encode())
    }

    /// Removes the stored identity: the agent was banned.
    pub(crate) fn remove(folder: &Folder) -> Result<(), DiskError> {
        folder.remove(FILE)
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let stored = Stored {
            schema: SCHEMA,
            spiffe_id: self.svid.spiffe_id.to_string(),
            chain: self.svid.chain.iter().map(|c| BASE64.encode(c)).collect(),
            key: BASE64.encode(self.key.secret_pkcs8()),
            not_before: self.svid.not_before.0,
            not_after: self.svid.not_after.0,
            reattestable: self.reattestable,
        };
        Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        // serde's own message could quote the file, which holds a key.
        let stored: Stored = serde_json::from_slice(bytes)
            .map_err(|e| format!("not the expected JSON at line {}", e.line()))?;
        if stored.schema != SCHEMA {
            return Err(format!("schema {} is not {SCHEMA}", stored.schema));
        }
        let chain = stored
            .chain
            .iter()
            .map(|text| BASE64.decode(text).map(Arc::from))
            .collect::<Result<Vec<Arc<[u8]>>, _>>()
            .or(Err("a certificate is not base64"))?;
        let key = BASE64
            .decode(stored.key.as_bytes())
            .map(Zeroizing::new)
            .or(Err("the key is not base64"))?;
        Ok(Self {
            svid: X509Svid {
                spiffe_id: SpiffeId::parse(&stored.spiffe_id).map_err(|e| e.to_string())?,
                chain,
                not_before: Timestamp(stored.not_before),
                not_after: Timestamp(stored.not_after),
            },
            key: PrivateKeyDer::new(&key),
            reattestable: stored.reattestable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn an_identity_survives_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("d"), None, Entropy::system()).unwrap();
        assert!(OwnIdentity::load(&folder).unwrap().is_none());
        let own = OwnIdentity {
            svid: X509Svid {
                spiffe_id: SpiffeId::parse("spiffe://example.org/spire/agent/x/y").unwrap(),
                chain: vec![Arc::from(b"leaf".as_slice())],
                not_before: Timestamp(1),
                not_after: Timestamp(2),
            },
            key: PrivateKeyDer::new(b"secret"),
            reattestable: false,
        };
        own.store(&folder).unwrap();
        let back = OwnIdentity::load(&folder).unwrap().unwrap();
        assert_eq!(back.svid, own.svid);
        assert_eq!(back.key.secret_pkcs8(), b"secret");
        folder
            .write(FILE, b"{\"schema\":1,\"key\":\"c2VjcmV0\"}")
            .unwrap();
        let refused = OwnIdentity::load(&folder).unwrap_err().to_string();
        assert!(
            refused.contains("agent.json") && !refused.contains("c2Vj"),
            "{refused}"
        );
        OwnIdentity::remove(&folder).unwrap();
        assert!(OwnIdentity::load(&folder).unwrap().is_none());
    }
}
