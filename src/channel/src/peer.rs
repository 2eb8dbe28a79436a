//! Who is at the other end of a TLS connection.

use std::sync::Arc;

use identity::{CertificateSerial, SpiffeId, Timestamp};
use rustls::pki_types::CertificateDer;

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
    pub(crate) not_after: Timestamp,
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

    /// When the leaf expires.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// Verifies a peer's chain against the bundle of the trust domain its leaf names.
pub(crate) fn verify_chain(
    _end_entity: &CertificateDer<'_>,
    _intermediates: &[CertificateDer<'_>],
    _bundles: &LiveBundles,
    _now: Timestamp,
) -> Result<Peer, rustls::Error> {
    Err(rustls::CertificateError::ApplicationVerificationFailure.into())
}
