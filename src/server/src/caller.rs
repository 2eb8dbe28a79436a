//! Who asks: what decision records name as `who`. Roles are decided in `authz`;
//! this value only carries the authenticated fact.

use std::fmt;
use std::net::SocketAddr;

use identity::SpiffeId;

/// The authenticated origin of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A TLS peer with a verified SVID: an agent, an admin workload, a downstream server.
    Spiffe(SpiffeId),
    /// A process on the admin socket, as the kernel named it at connect time.
    Local {
        /// Its user.
        uid: u32,
        /// Its process id; for people to read, never a handle.
        pid: i32,
    },
    /// A TLS client without a certificate.
    Anonymous(Option<SocketAddr>),
    /// The server itself: rotation, sweeps, its own SVID.
    Server,
}

impl Caller {
    /// The SPIFFE ID, when there is one.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        match self {
            Self::Spiffe(id) => Some(id),
            Self::Local { .. } | Self::Anonymous(_) | Self::Server => None,
        }
    }

    /// The text that decision records and logs carry.
    #[must_use]
    pub fn who(&self) -> String {
        match self {
            // The common case on the hot path: a copy, no formatting.
            Self::Spiffe(id) => id.as_str().to_owned(),
            Self::Server => "server".to_owned(),
            Self::Local { .. } | Self::Anonymous(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => f.write_str(id.as_str()),
            Self::Local { uid, pid } => write!(f, "uid:{uid} pid:{pid}"),
            Self::Anonymous(Some(address)) => write!(f, "anonymous {address}"),
            Self::Anonymous(None) => f.write_str("anonymous"),
            Self::Server => f.write_str("server"),
        }
    }
}
