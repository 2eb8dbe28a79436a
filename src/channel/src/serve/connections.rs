//! The connections of one TLS listener, by what is known of the other end.
//!
//! Each kind has room of its own, so that none can take another's: those whose
//! handshake is not finished and those without a certificate, both counted by
//! address, and those with one, counted by SPIFFE ID.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use identity::SpiffeId;

use super::crowd::{Crowd, Occupancy, Place, WhenFull};
use super::source::Source;
use crate::Limits;

/// How many parts of all turns one address has at one time.
const ADDRESS_TURNS: usize = 16;

/// The connections of one TLS listener.
#[derive(Debug)]
pub struct Connections {
    pub(super) pending: Arc<Crowd<Source>>,
    anonymous: Arc<Crowd<Source>>,
    certified: Arc<Crowd<SpiffeId>>,
    flooded: Arc<AtomicU64>,
}

/// The place of a connection whose handshake is finished.
#[derive(Debug)]
pub(super) enum Established {
    Anonymous(Place<Source>),
    Certified(Place<SpiffeId>),
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Arc<Self> {
        let for_strangers = limits.pending_connections + limits.anonymous_connections;
        let certified = limits.connections.saturating_sub(for_strangers);
        Arc::new(Self {
            pending: Crowd::new(
                limits.pending_connections,
                limits.pending_per_address,
                limits.handshakes / ADDRESS_TURNS,
                WhenFull::OldestMakesRoom,
            ),
            anonymous: Crowd::new(
                limits.anonymous_connections,
                limits.connections_per_origin,
                1,
                WhenFull::OldestMakesRoom,
            ),
            certified: Crowd::new(
                certified,
                limits.connections_per_identity,
                1,
                WhenFull::LargerMakesRoom,
            ),
            flooded: Arc::default(),
        })
    }

    /// Connections whose TLS handshake is not finished, by address.
    #[must_use]
    pub fn pending(&self) -> Occupancy {
        self.pending.occupancy(Source::to_string)
    }

    /// Connections without a client certificate, by address.
    #[must_use]
    pub fn anonymous(&self) -> Occupancy {
        self.anonymous.occupancy(Source::to_string)
    }

    /// Connections with a client certificate, by SPIFFE ID.
    #[must_use]
    pub fn certified(&self) -> Occupancy {
        self.certified.occupancy(ToString::to_string)
    }

    /// How many connections were ended so far because of a flood of control frames.
    #[must_use]
    pub fn flooded(&self) -> u64 {
        self.flooded.load(Ordering::Relaxed)
    }

    pub(super) const fn floods(&self) -> &Arc<AtomicU64> {
        &self.flooded
    }

    /// The place of a connection that has proved to be `identity`, or nobody.
    pub(super) fn establish(
        &self,
        identity: Option<&SpiffeId>,
        source: Source,
    ) -> Option<Established> {
        match identity {
            Some(id) => {
                let place = self.certified.enter(id.clone())?;
                place.set_idle(true);
                Some(Established::Certified(place))
            }
            None => {
                let place = self.anonymous.enter(source)?;
                place.set_idle(true);
                Some(Established::Anonymous(place))
            }
        }
    }
}

impl Established {
    /// Completes when the connection has to make room for another.
    pub(super) async fn evicted(&self) {
        match self {
            Self::Anonymous(place) => place.evicted().await,
            Self::Certified(place) => place.evicted().await,
        }
    }
}
