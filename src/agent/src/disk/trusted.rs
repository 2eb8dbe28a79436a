//! The trust bundle the agent holds: what it recognises its server by after a
//! restart.

use std::sync::Arc;

use api::convert::{bundle_from_wire, bundle_to_wire, keys_from_wire, keys_to_wire};
use api::types;
use identity::{Bundle, TrustDomain};
use prost::Message;

use super::{DiskError, Folder};
use crate::limits;

const FILE: &str = "bundle.bin";
const SCHEMA: u32 = 1;

/// The own trust domain's bundle, as stored.
pub(crate) struct TrustedBundle;

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    schema: u32,
    #[prost(message, optional, tag = "2")]
    bundle: Option<types::Bundle>,
    // They are no part of a SPIFFE bundle, so they lie beside it.
    #[prost(message, repeated, tag = "3")]
    access_keys: Vec<types::JwtKey>,
}

impl TrustedBundle {
    /// The stored bundle of `trust_domain`; `None` when there is none.
    pub(crate) fn load(
        folder: &Folder,
        trust_domain: &TrustDomain,
    ) -> Result<Option<Arc<Bundle>>, DiskError> {
        let Some(bytes) = folder.read(FILE, limits::SMALL_FILE_BYTES)? else {
            return Ok(None);
        };
        decode(&bytes, trust_domain)
            .map(|bundle| Some(Arc::new(bundle)))
            .map_err(|why| DiskError::Damaged {
                path: folder.file(FILE),
                why,
            })
    }

    /// Stores `bundle` in place of the one before.
    pub(crate) fn store(folder: &Folder, bundle: &Bundle) -> Result<(), DiskError> {
        let stored = Stored {
            schema: SCHEMA,
            bundle: Some(bundle_to_wire(bundle, None)),
            access_keys: keys_to_wire(&bundle.access_keys),
        };
        folder.write(FILE, &stored.encode_to_vec())
    }
}

fn decode(bytes: &[u8], trust_domain: &TrustDomain) -> Result<Bundle, String> {
    let stored = Stored::decode(bytes).map_err(|e| e.to_string())?;
    if stored.schema != SCHEMA {
        return Err(format!("schema {} is not {SCHEMA}", stored.schema));
    }
    let wire = stored.bundle.ok_or("it has no bundle")?;
    let mut bundle = bundle_from_wire(&wire).map_err(|e| e.to_string())?;
    bundle.access_keys = keys_from_wire(&stored.access_keys).map_err(|e| e.to_string())?;
    if bundle.trust_domain != *trust_domain {
        return Err(format!(
            "it is of trust domain {}, and this agent of {trust_domain}",
            bundle.trust_domain
        ));
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn a_bundle_survives_and_another_domains_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("d"), None, Entropy::system()).unwrap();
        let ours = TrustDomain::parse("example.org").unwrap();
        assert!(TrustedBundle::load(&folder, &ours).unwrap().is_none());
        let mut bundle = Bundle::empty(ours.clone());
        bundle.sequence = 7;
        TrustedBundle::store(&folder, &bundle).unwrap();
        assert_eq!(
            *TrustedBundle::load(&folder, &ours).unwrap().unwrap(),
            bundle
        );
        let other = TrustDomain::parse("other.org").unwrap();
        assert!(TrustedBundle::load(&folder, &other).is_err());
        folder.write(FILE, b"\xff\xff").unwrap();
        assert!(TrustedBundle::load(&folder, &ours).is_err());
    }
}
