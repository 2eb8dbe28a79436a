//! What changes while listeners and clients live: our certificate and the
//! bundles that peers are verified against. Both are swapped whole, never
//! edited, so a handshake sees the old value or the new one and nothing between.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use identity::{Bundle, PrivateKeyDer, TrustDomain};
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, pki_types};
use verify::{RevocationSource, Revocations};

/// Why a certificate and its key cannot serve as our identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The chain has no certificate.
    #[error("certificate chain is empty")]
    EmptyChain,
    /// ring cannot use the private key.
    #[error("private key is not a usable PKCS#8 key")]
    Key(#[source] rustls::Error),
    /// The key is not the one the leaf certifies.
    #[error("private key does not belong to the certificate")]
    Mismatch(#[source] rustls::Error),
}

/// Our certificate and key, shown to peers. Empty at first: handshakes that
/// need it fail until [`LiveIdentity::set`] was called.
#[derive(Default)]
pub struct LiveIdentity {
    current: ArcSwapOption<CertifiedKey>,
}

impl LiveIdentity {
    /// No identity yet.
    #[must_use]
    pub fn empty() -> Arc<Self> {
        Arc::default()
    }

    /// Shows `chain` (DER, leaf first, without the root) from the next
    /// handshake on; open connections keep what they have.
    ///
    /// # Errors
    /// The key is unusable or belongs to another certificate; the identity
    /// shown before stays.
    pub fn set(&self, chain: &[Arc<[u8]>], key: &PrivateKeyDer) -> Result<(), IdentityError> {
        if chain.is_empty() {
            return Err(IdentityError::EmptyChain);
        }
        let pkcs8 = pki_types::PrivatePkcs8KeyDer::from(key.secret_pkcs8());
        let signer = any_supported_type(&pki_types::PrivateKeyDer::from(pkcs8))
            .map_err(IdentityError::Key)?;
        let certificates = chain
            .iter()
            .map(|der| pki_types::CertificateDer::from(der.to_vec()))
            .collect();
        let certified = CertifiedKey::new(certificates, signer);
        certified.keys_match().map_err(IdentityError::Mismatch)?;
        self.current.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// Shows no certificate any more (a banned agent, a wiped node).
    pub fn clear(&self) {
        self.current.store(None);
    }

    /// Whether there is a certificate to show.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.current.load().is_some()
    }
}

impl fmt::Debug for LiveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveIdentity")
            .field("set", &self.is_set())
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for LiveIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

impl ResolvesClientCert for LiveIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }

    fn has_certs(&self) -> bool {
        self.is_set()
    }
}

/// The bundles peers are verified against, by trust domain. A peer of a trust
/// domain that is not here does not verify.
#[derive(Default)]
pub struct LiveBundles {
    by_trust_domain: ArcSwap<BTreeMap<Arc<str>, Arc<Bundle>>>,
    /// What is void although a bundle would verify it.
    revocations: ArcSwap<BTreeMap<TrustDomain, Arc<Revocations>>>,
    /// Makes copy-edit-swap by several writers one step each.
    writing: Mutex<()>,
}

impl LiveBundles {
    /// No bundle: nobody verifies.
    #[must_use]
    pub fn empty() -> Arc<Self> {
        Arc::default()
    }

    /// Takes `bundle` in place of what its trust domain had, from the next
    /// handshake on.
    pub fn set(&self, bundle: Arc<Bundle>) {
        self.edit(|map| {
            map.insert(bundle.trust_domain.as_str().into(), bundle);
        });
    }

    /// Trusts nobody of `trust_domain` any more.
    pub fn remove(&self, trust_domain: &TrustDomain) {
        self.edit(|map| {
            map.remove(trust_domain.as_str());
        });
    }

    /// The bundle of the trust domain with this name.
    #[must_use]
    pub fn get(&self, trust_domain: &str) -> Option<Arc<Bundle>> {
        self.by_trust_domain.load().get(trust_domain).cloned()
    }

    /// Takes this list in place of what its trust domain had, from the next
    /// handshake on.
    pub fn set_revocations(&self, list: Arc<Revocations>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = BTreeMap::clone(&self.revocations.load());
        map.insert(list.trust_domain().clone(), list);
        self.revocations.store(Arc::new(map));
    }

    fn edit(&self, change: impl FnOnce(&mut BTreeMap<Arc<str>, Arc<Bundle>>)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = BTreeMap::clone(&self.by_trust_domain.load());
        change(&mut map);
        self.by_trust_domain.store(Arc::new(map));
    }
}

impl RevocationSource for LiveBundles {
    fn revocations(&self, trust_domain: &TrustDomain) -> Option<Arc<Revocations>> {
        self.revocations.load().get(trust_domain).cloned()
    }
}

impl fmt::Debug for LiveBundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.by_trust_domain.load().keys())
            .finish()
    }
}
