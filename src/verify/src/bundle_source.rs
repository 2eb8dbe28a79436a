//! Where the verifier finds the bundle of a trust domain.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use identity::{Bundle, TrustDomain};

/// Looks bundles up by trust domain. A source holds one bundle for a domain and
/// never merges those of several.
pub trait BundleSource {
    /// The bundle of exactly that trust domain.
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>>;
}

impl BundleSource for Arc<Bundle> {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        (self.trust_domain == *trust_domain).then(|| Self::clone(self))
    }
}

impl BundleSource for BTreeMap<TrustDomain, Arc<Bundle>> {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.get(trust_domain).cloned()
    }
}

impl<S: std::hash::BuildHasher> BundleSource for HashMap<TrustDomain, Arc<Bundle>, S> {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.get(trust_domain).cloned()
    }
}

impl BundleSource for [Arc<Bundle>] {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.iter()
            .find(|b| b.trust_domain == *trust_domain)
            .cloned()
    }
}
