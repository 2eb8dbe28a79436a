//! Trust bundles: the public authorities of one trust domain.

use std::sync::Arc;

use crate::{Seconds, Timestamp, TrustDomain};

/// One X.509 authority of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509AuthorityCertificate {
    /// The CA certificate, DER.
    pub der: Arc<[u8]>,
    /// Whether the key is no longer to be relied on: agents replace what it signed.
    pub tainted: bool,
}

/// One JWT authority of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtAuthorityKey {
    /// The key id tokens name in `kid`; unique in the bundle.
    pub key_id: Arc<str>,
    /// The public key, DER SubjectPublicKeyInfo.
    pub spki: Arc<[u8]>,
    /// When the last token it may sign expires; `None` is unknown.
    pub expires_at: Option<Timestamp>,
    /// Whether the key is no longer to be relied on.
    pub tainted: bool,
}

/// The public authorities of one trust domain at one moment (SPIFFE Trust
/// Domain and Bundle). Each list may be empty: that profile is then unsupported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Whose authorities these are.
    pub trust_domain: TrustDomain,
    /// X.509 authorities, oldest first.
    pub x509_authorities: Vec<X509AuthorityCertificate>,
    /// JWT authorities, oldest first.
    pub jwt_authorities: Vec<JwtAuthorityKey>,
    /// Keys that sign access tokens (RFC 9068), oldest first. They change and are
    /// acknowledged with the bundle, and are published as an OAuth key set: they
    /// are no part of a SPIFFE bundle, so that neither token passes for the other.
    pub access_keys: Vec<JwtAuthorityKey>,
    /// Grows with every change, never falls (section 4.1.1).
    pub sequence: u64,
    /// How often consumers should look again (section 4.1.2).
    pub refresh_hint: Option<Seconds>,
}

impl Bundle {
    /// A bundle without authorities.
    #[must_use]
    pub const fn empty(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            x509_authorities: Vec::new(),
            jwt_authorities: Vec::new(),
            access_keys: Vec::new(),
            sequence: 0,
            refresh_hint: None,
        }
    }

    /// The X.509 authorities' certificates, one after the other, as the
    /// Workload API carries them.
    #[must_use]
    pub fn x509_concatenated(&self) -> Vec<u8> {
        self.x509_authorities
            .iter()
            .flat_map(|a| a.der.iter().copied())
            .collect()
    }
}
