//! The bundles the agent holds, with a generation for each profile's half: a
//! new JWT key is no news for X.509 streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use identity::{Bundle, TrustDomain};

#[derive(Debug, Clone)]
pub(crate) struct HeldBundle {
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) x509: u64,
    pub(crate) jwt: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Trust {
    pub(crate) own: Option<HeldBundle>,
    pub(crate) federated: BTreeMap<TrustDomain, HeldBundle>,
    generation: u64,
}

impl Trust {
    /// Takes over the full set; says whether anything a client can see changed.
    pub(crate) fn replace(&mut self, own: Arc<Bundle>, federated: Vec<Arc<Bundle>>) -> bool {
        let before = self.generations();
        let old = self.own.take();
        self.own = Some(self.hold(own, old.as_ref()));
        let old = std::mem::take(&mut self.federated);
        for bundle in federated {
            let name = bundle.trust_domain.clone();
            let held = self.hold(bundle, old.get(&name));
            self.federated.insert(name, held);
        }
        before != self.generations()
    }

    fn hold(&mut self, bundle: Arc<Bundle>, old: Option<&HeldBundle>) -> HeldBundle {
        let same_x509 = |old: &&HeldBundle| {
            let (a, b) = (&old.bundle.x509_authorities, &bundle.x509_authorities);
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.der == b.der)
        };
        let same_jwt = |old: &&HeldBundle| {
            let (a, b) = (&old.bundle.jwt_authorities, &bundle.jwt_authorities);
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.key_id == b.key_id && a.spki == b.spki)
        };
        let x509 = old.filter(same_x509).map(|old| old.x509);
        let jwt = old.filter(same_jwt).map(|old| old.jwt);
        HeldBundle {
            x509: x509.unwrap_or_else(|| self.next()),
            jwt: jwt.unwrap_or_else(|| self.next()),
            bundle,
        }
    }

    fn next(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    fn generations(&self) -> Vec<(u64, u64)> {
        let all = self.own.iter().chain(self.federated.values());
        all.map(|held| (held.x509, held.jwt)).collect()
    }

    /// The held bundles of those trust domains, by name.
    pub(crate) fn federated_with<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a TrustDomain>,
    ) -> impl Iterator<Item = &'a HeldBundle> {
        let names: std::collections::BTreeSet<&TrustDomain> = names.into_iter().collect();
        names
            .into_iter()
            .filter_map(|name| self.federated.get(name))
    }
}
