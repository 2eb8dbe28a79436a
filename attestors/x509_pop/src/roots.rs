//! The CA certificates that nodes' certificates must lead to.

use std::fmt;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The most roots.
const MAX_ROOTS: usize = 64;

/// One root.
pub(crate) struct Root {
    pub(crate) der: Vec<u8>,
    pub(crate) anchor: TrustAnchor<'static>,
    /// Its validity, which webpki never looks at for anchors.
    pub(crate) valid: (i64, i64),
}

/// The CA certificates that nodes' certificates must lead to: the operator's own
/// PKI, which has nothing to do with the trust domain's.
pub struct Roots(Vec<Root>);

/// Why a bundle of roots is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// No certificate is in it.
    #[error("it holds no certificate in PEM")]
    Empty,
    /// A section is no certificate.
    #[error("section {0} is not a certificate in PEM")]
    NotPem(usize),
    /// A certificate cannot be a root.
    #[error("certificate {at} cannot be a root: {why}")]
    NotARoot {
        /// Which, from 1.
        at: usize,
        /// Why not.
        why: &'static str,
    },
    /// Too many.
    #[error("it holds more than {MAX_ROOTS} certificates")]
    TooMany,
}

impl Roots {
    /// Reads roots from PEM.
    ///
    /// # Errors
    /// Says which certificate is refused, and why.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let mut roots = Vec::new();
        for (n, section) in CertificateDer::pem_slice_iter(pem).enumerate() {
            if n == MAX_ROOTS {
                return Err(RootsError::TooMany);
            }
            let der = section.map_err(|_unreadable| RootsError::NotPem(n + 1))?;
            let root = root(&der).map_err(|why| RootsError::NotARoot { at: n + 1, why })?;
            roots.push(root);
        }
        if roots.is_empty() {
            return Err(RootsError::Empty);
        }
        Ok(Self(roots))
    }

    /// Those that are valid at a time.
    pub(crate) fn at(&self, now: i64) -> impl Iterator<Item = &Root> {
        let valid = move |root: &&Root| (root.valid.0..=root.valid.1).contains(&now);
        self.0.iter().filter(valid)
    }
}

fn root(der: &CertificateDer<'_>) -> Result<Root, &'static str> {
    let parsed = X509Certificate::from_der(der);
    let (_, certificate) = parsed.map_err(|_malformed| "it is malformed")?;
    if !certificate.is_ca() {
        return Err("it is not a CA's");
    }
    let anchor = webpki::anchor_from_trusted_cert(der).map_err(|_unusable| "it is not usable")?;
    let validity = certificate.validity();
    Ok(Root {
        der: der.to_vec(),
        anchor: anchor.to_owned(),
        valid: (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        ),
    })
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}
