//! Who asks: what decision records name as `who`. Roles are decided in `authz`;
//! this value only carries the authenticated fact.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use identity::SpiffeId;

/// The authenticated origin of a call. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A TLS peer with a verified SVID: an agent, an admin workload, a downstream server.
    Spiffe(SpiffeId),
    /// A process on the admin socket, as the kernel named it at connect time.
    Local {
        /// Its user.
        uid: u32,
        /// Its process id, 0 when unknown; for people to read, never a handle.
        pid: u32,
    },
    /// A TLS client without a certificate, by its address.
    Anonymous(Arc<str>),
    /// The server itself: rotation, sweeps, its own SVID.
    Server,
}

impl Caller {
    /// A TLS client without a certificate.
    #[must_use]
    pub(crate) fn anonymous(address: SocketAddr) -> Self {
        Self::Anonymous(address.to_string().into())
    }

    /// Whom the caller's share of something is counted for: the same text each time,
    /// whichever process or connection it comes by.
    #[must_use]
    pub(crate) fn principal(&self) -> String {
        match self {
            Self::Local { uid, .. } => format!("uid:{uid}"),
            other => other.to_string(),
        }
    }

    /// The caller as decision records hold it; borrows, formats nothing.
    #[must_use]
    pub(crate) fn for_record(&self) -> records::Caller<'_> {
        match self {
            Self::Spiffe(id) => records::Caller::Spiffe(id.as_str()),
            Self::Local { uid, pid } => records::Caller::Local {
                uid: *uid,
                pid: *pid,
            },
            Self::Anonymous(address) => records::Caller::Anonymous(address),
            Self::Server => records::Caller::Server,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.for_record().fmt(f)
    }
}
