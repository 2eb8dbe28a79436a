//! The bundles the agent holds, and what of them a stream can see: a new JWT key
//! or a new sequence number is no news for an X.509 stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use identity::{Bundle, TrustDomain};

/// Whose streams look: each sees one half of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    X509,
    Jwt,
}

impl Profile {
    /// Whether a client of this profile could tell the two bundles apart.
    pub(crate) fn sees_same(self, a: &Arc<Bundle>, b: &Arc<Bundle>) -> bool {
        if Arc::ptr_eq(a, b) {
            return true;
        }
        let half = match self {
            Self::X509 => {
                let (a, b) = (&a.x509_authorities, &b.x509_authorities);
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.der == b.der)
            }
            Self::Jwt => {
                let (a, b) = (&a.jwt_authorities, &b.jwt_authorities);
                let same = |(a, b): (&identity::JwtAuthorityKey, &identity::JwtAuthorityKey)| {
                    a.key_id == b.key_id && a.spki == b.spki
                };
                a.len() == b.len() && a.iter().zip(b).all(same)
            }
        };
        half && a.trust_domain == b.trust_domain
    }

    pub(crate) fn sees_all_same(self, a: &[Arc<Bundle>], b: &[Arc<Bundle>]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.sees_same(a, b))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Trust {
    pub(crate) own: Option<Arc<Bundle>>,
    pub(crate) federated: BTreeMap<TrustDomain, Arc<Bundle>>,
    /// X.509 revocation lists of the own trust domain, DER.
    pub(crate) crls: Arc<[Bytes]>,
}

impl Trust {
    /// Takes over the full set; says whether any client could see a change.
    pub(crate) fn replace(&mut self, own: Arc<Bundle>, federated: Vec<Arc<Bundle>>) -> bool {
        let before = self.all();
        self.own = Some(own);
        let by_name = federated.into_iter().map(|b| (b.trust_domain.clone(), b));
        self.federated = by_name.collect();
        let after = self.all();
        let same = |profile: Profile| profile.sees_all_same(&before, &after);
        !(same(Profile::X509) && same(Profile::Jwt))
    }

    fn all(&self) -> Vec<Arc<Bundle>> {
        let all = self.own.iter().chain(self.federated.values());
        all.cloned().collect()
    }

    /// The held bundles of those trust domains, by name.
    pub(crate) fn federated_with<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a TrustDomain>,
    ) -> impl Iterator<Item = &'a Arc<Bundle>> {
        let names: BTreeSet<&TrustDomain> = names.into_iter().collect();
        let held = |name| self.federated.get(name);
        names.into_iter().filter_map(held)
    }
}
