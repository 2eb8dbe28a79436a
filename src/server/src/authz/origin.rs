//! What the connection proves about the caller, before any role is known.

use std::net::SocketAddr;
use std::sync::Arc;

use channel::uds::UnixPeer;
use channel::{Peer, RemoteAddress};
use http::Extensions;
use identity::{CertificateSerial, SpiffeId, Timestamp};

/// Where a call comes from. The listener put it into the request's extensions;
/// nothing that the caller sends can.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A TLS peer whose chain verified.
    Peer(Arc<Peer>),
    /// A process on the admin socket.
    Local { uid: u32, pid: u32 },
    /// A TLS client without a certificate.
    Address(SocketAddr),
    /// As `Peer`, where a test has no TLS.
    #[cfg(test)]
    Test(TestPeer),
    /// As `Test`, with the leaf that was shown.
    #[cfg(test)]
    TestLeaf(TestPeer, Arc<[u8]>),
}

/// A TLS peer made up by a test.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct TestPeer {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) serial: CertificateSerial,
    pub(crate) not_after: Timestamp,
}

/// What a certificate says of its holder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certified<'a> {
    pub(crate) spiffe_id: &'a SpiffeId,
    pub(crate) serial: &'a CertificateSerial,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// The connection's peer; `None` where a test has no TLS.
    pub(crate) peer: Option<&'a Peer>,
    /// The leaf that was shown; `None` where a test has no TLS.
    pub(crate) leaf: Option<&'a [u8]>,
}

impl Origin {
    /// Reads the origin off a request; `None` when no listener left one.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        #[cfg(test)]
        if let Some(peer) = extensions.get::<TestPeer>() {
            return Some(Self::Test(peer.clone()));
        }
        if let Some(peer) = extensions.get::<Arc<Peer>>() {
            return Some(Self::Peer(Arc::clone(peer)));
        }
        if let Some(peer) = extensions.get::<Arc<UnixPeer>>() {
            return Some(Self::Local {
                uid: peer.uid(),
                pid: u32::try_from(peer.pid()).unwrap_or_default(),
            });
        }
        let RemoteAddress(address) = extensions.get()?;
        Some(Self::Address(*address))
    }

    /// The certificate, when there is one.
    pub(crate) fn certified(&self) -> Option<Certified<'_>> {
        match self {
            Self::Peer(peer) => Some(Certified {
                spiffe_id: peer.spiffe_id(),
                serial: peer.serial(),
                not_before: peer.not_before(),
                not_after: peer.not_after(),
                peer: Some(peer),
                leaf: peer.chain().first().map(AsRef::as_ref),
            }),
            #[cfg(test)]
            Self::TestLeaf(peer, leaf) => Some(Certified {
                spiffe_id: &peer.spiffe_id,
                serial: &peer.serial,
                not_before: Timestamp(0),
                not_after: peer.not_after,
                peer: None,
                leaf: Some(leaf),
            }),
            #[cfg(test)]
            Self::Test(peer) => Some(Certified {
                spiffe_id: &peer.spiffe_id,
                serial: &peer.serial,
                // As old as anything: what revokes its ID revokes it.
                not_before: Timestamp(0),
                not_after: peer.not_after,
                peer: None,
                leaf: None,
            }),
            Self::Local { .. } | Self::Address(_) => None,
        }
    }
}
