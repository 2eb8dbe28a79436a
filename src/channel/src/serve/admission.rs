//! Who may connect: a cap on all connections, and on Unix sockets one on those of each
//! user. Those of TCP are told apart later, by what they prove ([`super::connections`]).

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Limits;
use crate::uds::UnixPeer;

/// A source of connections.
pub(super) trait Listen: Send + Sync {
    /// A connection and what the kernel says of its other end.
    type Io: Send + 'static;

    /// With the user that it is counted against, if it is.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Option<u32>)>> + Send;
}

impl Listen for TcpListener {
    type Io = (TcpStream, SocketAddr);

    async fn accept(&self) -> io::Result<(Self::Io, Option<u32>)> {
        Ok((Self::accept(self).await?, None))
    }
}

impl Listen for UnixListener {
    type Io = (UnixStream, UnixPeer);

    async fn accept(&self) -> io::Result<(Self::Io, Option<u32>)> {
        let (stream, _) = Self::accept(self).await?;
        let peer = UnixPeer::of(&stream)?;
        let uid = peer.uid();
        Ok(((stream, peer), Some(uid)))
    }
}

/// The caps of one listener.
pub(super) struct Admission {
    all: Arc<Semaphore>,
    descriptors: Arc<Semaphore>,
    by_user: Arc<ByUser>,
}

struct ByUser {
    limit: usize,
    open: Mutex<HashMap<u32, usize>>,
}

/// An admitted connection's place; dropping it makes room.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _descriptor: OwnedSemaphorePermit,
    user: Option<u32>,
    by_user: Arc<ByUser>,
}

impl Admission {
    pub(super) fn new(limits: &Limits, descriptors: Arc<Semaphore>) -> Self {
        Self {
            descriptors,
            all: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            by_user: Arc::new(ByUser {
                limit: limits.connections_per_origin,
                open: Mutex::default(),
            }),
        }
    }

    /// The next connection that may be served. While all places are taken,
    /// nothing is accepted and the kernel's backlog fills. A connection above
    /// its user's cap is closed unread.
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
            let (io, user) = listener.accept().await?;
            if user.is_none_or(|uid| self.by_user.enter(uid)) {
                let slot = Slot {
                    _permit: permit,
                    _descriptor: descriptor,
                    user,
                    by_user: Arc::clone(&self.by_user),
                };
                return Ok((io, slot));
            }
            tracing::debug!(uid = user, "too many connections of one user");
        }
    }
}

impl ByUser {
    fn enter(&self, uid: u32) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(uid).or_default();
        if *count >= self.limit {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, uid: u32) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&uid);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(uid) = self.user {
            self.by_user.leave(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_at_its_cap_does_not_stop_another() {
        let by_user = ByUser {
            limit: 1,
            open: Mutex::default(),
        };
        assert!(by_user.enter(1));
        assert!(!by_user.enter(1));
        assert!(by_user.enter(2));
        by_user.leave(1);
        assert!(by_user.enter(1));
    }

    #[test]
    fn users_that_left_are_forgotten() {
        let by_user = ByUser {
            limit: 1,
            open: Mutex::default(),
        };
        for uid in 0..100 {
            assert!(by_user.enter(uid));
            by_user.leave(uid);
        }
        assert!(by_user.open.lock().unwrap().is_empty());
    }
}
