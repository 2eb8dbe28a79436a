//! Who may connect: a cap on all connections, and one on those of each origin.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Limits;
use crate::uds::UnixPeer;

/// Whom a connection is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Ip(IpAddr),
    Uid(u32),
}

/// A source of connections.
pub(super) trait Listen: Send + Sync {
    /// A connection and what the kernel says of its other end.
    type Io: Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Origin)>> + Send;
}

impl Listen for TcpListener {
    type Io = (TcpStream, SocketAddr);

    async fn accept(&self) -> io::Result<(Self::Io, Origin)> {
        let (stream, remote) = Self::accept(self).await?;
        Ok(((stream, remote), Origin::Ip(remote.ip())))
    }
}

impl Listen for UnixListener {
    type Io = (UnixStream, UnixPeer);

    async fn accept(&self) -> io::Result<(Self::Io, Origin)> {
        let (stream, _) = Self::accept(self).await?;
        let peer = UnixPeer::of(&stream)?;
        let origin = Origin::Uid(peer.uid());
        Ok(((stream, peer), origin))
    }
}

/// The caps of one listener.
pub(super) struct Admission {
    all: Arc<Semaphore>,
    descriptors: Arc<Semaphore>,
    by_origin: Arc<ByOrigin>,
}

struct ByOrigin {
    limit: usize,
    open: Mutex<HashMap<Origin, usize>>,
}

/// An admitted connection's place; dropping it makes room.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _descriptor: OwnedSemaphorePermit,
    origin: Origin,
    by_origin: Arc<ByOrigin>,
}

impl Admission {
    pub(super) fn new(limits: &Limits, descriptors: Arc<Semaphore>) -> Self {
        Self {
            descriptors,
            all: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            by_origin: Arc::new(ByOrigin {
                limit: limits.connections_per_origin,
                open: Mutex::default(),
            }),
        }
    }

    /// The next connection that may be served. While all places are taken,
    /// nothing is accepted and the kernel's backlog fills. A connection above
    /// its origin's cap is closed unread.
    pub(super) async fn next<L: Listen>(&self, listener: &L) -> io::Result<(L::Io, Slot)> {
        let permit = Arc::clone(&self.all)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let descriptor = Arc::clone(&self.descriptors)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        loop {
            let (io, origin) = listener.accept().await?;
            if self.by_origin.enter(origin) {
                let slot = Slot {
                    _permit: permit,
                    _descriptor: descriptor,
                    origin,
                    by_origin: Arc::clone(&self.by_origin),
                };
                return Ok((io, slot));
            }
            tracing::debug!(?origin, "too many connections of one origin");
        }
    }
}

impl ByOrigin {
    fn enter(&self, origin: Origin) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(origin).or_default();
        if *count >= self.limit {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, origin: Origin) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&origin) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&origin);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.by_origin.leave(self.origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_at_its_cap_does_not_stop_another() {
        let by_origin = ByOrigin {
            limit: 1,
            open: Mutex::default(),
        };
        assert!(by_origin.enter(Origin::Uid(1)));
        assert!(!by_origin.enter(Origin::Uid(1)));
        assert!(by_origin.enter(Origin::Uid(2)));
        by_origin.leave(Origin::Uid(1));
        assert!(by_origin.enter(Origin::Uid(1)));
    }

    #[test]
    fn origins_that_left_are_forgotten() {
        let by_origin = ByOrigin {
            limit: 1,
            open: Mutex::default(),
        };
        for uid in 0..100 {
            assert!(by_origin.enter(Origin::Uid(uid)));
            by_origin.leave(Origin::Uid(uid));
        }
        assert!(by_origin.open.lock().unwrap().is_empty());
    }
}
