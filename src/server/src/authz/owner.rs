//! Whom a call is charged to, and the bounds of each sort of caller. Each sort has a pool
//! of its own: strangers cannot take what agents need, nor anybody what the admin socket
//! needs.

use std::fmt;

use channel::Source;
use identity::SpiffeId;
use tokio::sync::Semaphore;

use super::origin::Origin;
use crate::limits;

/// Whom a call is charged to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Who has no certificate, by address.
    Address(Source),
    /// Who has one.
    Identity(SpiffeId),
    /// Processes on the admin socket.
    Local,
}

impl Owner {
    pub(super) fn of(origin: &Origin) -> Self {
        match origin {
            Origin::Address(address) => Self::Address(Source::of(address.ip())),
            Origin::Local { .. } => Self::Local,
            certified => match certified.certified() {
                Some(certified) => Self::Identity(certified.spiffe_id.clone()),
                // Only what has a certificate is left.
                None => Self::Local,
            },
        }
    }

    pub(super) const fn group(&self) -> Group {
        match self {
            Self::Address(_) => Group::Strangers,
            Self::Identity(_) => Group::Certified,
            Self::Local => Group::Local,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(source) => source.fmt(f),
            Self::Identity(id) => id.fmt(f),
            Self::Local => f.write_str("admin socket"),
        }
    }
}

/// Those who share a pool, which is nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Strangers,
    Certified,
    Local,
}

/// The bounds of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Calls at one time of one owner, and of all.
    pub(super) calls: (usize, usize),
    /// Calls of one owner that may wait for that.
    pub(super) waiting: usize,
    /// Request bytes held for one owner, and for all.
    pub(super) bytes: (usize, usize),
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::Strangers, Self::Certified, Self::Local];

    pub(super) const fn bounds(self) -> Bounds {
        match self {
            Self::Strangers => Bounds {
                calls: (
                    limits::MAX_CALLS_OF_AN_ADDRESS,
                    limits::MAX_CALLS_OF_STRANGERS,
                ),
                waiting: limits::MAX_WAITING_CALLS_OF_AN_ADDRESS,
                bytes: (
                    limits::MAX_REQUEST_BYTES_OF_AN_ADDRESS,
                    limits::MAX_REQUEST_BYTES_OF_STRANGERS,
                ),
            },
            Self::Certified => Bounds {
                calls: (limits::MAX_CALLS_OF_AN_IDENTITY, Semaphore::MAX_PERMITS),
                waiting: limits::MAX_WAITING_CALLS_OF_AN_IDENTITY,
                bytes: (
                    limits::MAX_REQUEST_BYTES_OF_AN_IDENTITY,
                    limits::MAX_REQUEST_BYTES_OF_IDENTITIES,
                ),
            },
            Self::Local => Bounds {
                calls: (limits::MAX_LOCAL_CALLS, limits::MAX_LOCAL_CALLS),
                waiting: limits::MAX_LOCAL_CALLS,
                bytes: (
                    limits::MAX_LOCAL_REQUEST_BYTES,
                    limits::MAX_LOCAL_REQUEST_BYTES,
                ),
            },
        }
    }
}
