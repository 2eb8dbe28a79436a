//! Who is at the other end of a TLS connection.

use std::sync::{Arc, OnceLock};

use identity::{CertificateSerial, SpiffeId, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, OtherError, ServerConnection};
use verify::{RevocationCheck, RevocationSource, VerifiedX509, X509Fault};

use crate::LiveBundles;

/// A TLS peer whose chain verified during the handshake.
///
/// The handshake checked it once; a long connection outlives that check, so
/// whoever decides on a request compares [`Peer::not_after`] with its clock.
/// (The listener also closes the connection at that time.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) chain: Vec<Arc<[u8]>>,
    pub(crate) serial: CertificateSerial,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    signed_by: OnceLock<Option<Box<str>>>,
}

impl Peer {
    /// The identity in the leaf's URI SAN.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The DER certificates as the peer sent them, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[Arc<[u8]>] {
        &self.chain
    }

    /// The leaf's serial number.
    #[must_use]
    pub const fn serial(&self) -> &CertificateSerial {
        &self.serial
    }

    /// When the leaf began to be valid.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When the leaf expires.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The id of who signed the leaf, as `find` says of the chain when it is first
    /// asked: a signature is checked once for a connection, not for each call.
    pub fn signed_by(&self, find: impl FnOnce(&[Arc<[u8]>]) -> Option<Box<str>>) -> Option<&str> {
        self.signed_by.get_or_init(|| find(&self.chain)).as_deref()
    }
}

impl Peer {
    /// What the client of a finished handshake proved; `None` when it showed no
    /// certificate. The verifier has already accepted the chain.
    pub(crate) fn of(connection: &ServerConnection) -> Result<Option<Arc<Self>>, X509Fault> {
        let Some(chain) = connection.peer_certificates() else {
            return Ok(None);
        };
        let leaf = verify::leaf_identity(chain.first().ok_or(X509Fault::Empty)?)?;
        Ok(Some(Arc::new(Self {
            spiffe_id: leaf.spiffe_id,
            chain: chain.iter().map(|der| Arc::from(der.as_ref())).collect(),
            serial: leaf.serial,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            signed_by: OnceLock::new(),
        })))
    }
}

/// Verifies a peer's chain against the bundle of the trust domain its leaf names, and
/// against the revocations that are given.
pub(crate) fn verify_chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    (bundles, revocations): (&LiveBundles, &dyn RevocationSource),
    now: Timestamp,
) -> Result<VerifiedX509, rustls::Error> {
    let leaf = verify::leaf_identity(end_entity).map_err(tls_error)?;
    let bundle = bundles
        .get(leaf.spiffe_id.trust_domain_str())
        .ok_or(CertificateError::UnknownIssuer)?;
    let chain: Vec<&[u8]> = std::iter::once(end_entity)
        .chain(intermediates)
        .map(AsRef::as_ref)
        .collect();
    let revocations = RevocationCheck::of(revocations);
    verify::verify_x509_svid_not_revoked(&chain, &bundle, revocations, now).map_err(tls_error)
}

/// Keeps the fault for our own log; the kind decides the alert the peer gets.
fn tls_error(fault: X509Fault) -> rustls::Error {
    tracing::debug!(%fault, "peer certificate refused");
    match fault {
        X509Fault::Expired => CertificateError::Expired,
        X509Fault::NotYetValid => CertificateError::NotValidYet,
        X509Fault::NoAuthority(_) | X509Fault::Path(_) => CertificateError::UnknownIssuer,
        X509Fault::Encoding(_) => CertificateError::BadEncoding,
        X509Fault::Revoked(_) => CertificateError::Revoked,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
    .into()
}
