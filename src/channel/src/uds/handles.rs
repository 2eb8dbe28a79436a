//! One handle for each process, however many connections it makes: a service that
//! opens a thousand costs the listener a thousand descriptors, not two thousand.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::UnixPeer;

/// The file system that handles to processes are files of, since Linux 6.9. There
/// the inode number is the process: no other process has it until the machine is
/// started again. Before, all handles had one number, and none is shared.
const PID_FS: FsType = FsType(0x5049_4446);
/// How many are remembered before those that nobody holds are swept out.
const SWEPT: usize = 64;

/// A descriptor of one process, a pidfd.
#[derive(Debug)]
pub struct ProcessHandle {
    descriptor: OwnedFd,
    /// Its place among those that the listener may hold.
    place: OnceLock<OwnedSemaphorePermit>,
}

impl From<OwnedFd> for ProcessHandle {
    fn from(descriptor: OwnedFd) -> Self {
        Self {
            descriptor,
            place: OnceLock::new(),
        }
    }
}

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for ProcessHandle {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// The handles that open connections hold.
#[derive(Debug)]
pub(crate) struct Handles {
    places: Arc<Semaphore>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_number: HashMap<u64, Weak<ProcessHandle>>,
    sweep_at: usize,
}

impl Handles {
    /// None yet; each takes one of `places`.
    pub(crate) fn new(places: Arc<Semaphore>) -> Self {
        Self {
            places,
            known: Mutex::default(),
        }
    }

    /// The same peer, with the handle that an earlier connection of its process
    /// holds, if there is one; `None` when there is no place for another.
    pub(crate) fn share(&self, peer: UnixPeer) -> Option<UnixPeer> {
        let Some(handle) = peer.handle() else {
            return Some(peer);
        };
        let number = number(handle);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = number.and_then(|number| known.by_number.get(&number)?.upgrade());
        if let Some(handle) = shared {
            return Some(peer.with_handle(handle));
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        // Just made: it has none yet.
        let _first = handle.place.set(place);
        if let Some(number) = number {
            known.remember(number, handle);
        }
        Some(peer)
    }
}

impl Known {
    fn remember(&mut self, number: u64, handle: &Arc<ProcessHandle>) {
        if self.by_number.len() >= self.sweep_at {
            self.by_number.retain(|_, handle| handle.strong_count() > 0);
            self.sweep_at = (self.by_number.len() * 2).max(SWEPT);
        }
        self.by_number.insert(number, Arc::downgrade(handle));
    }
}

fn number(handle: &impl AsFd) -> Option<u64> {
    let system = fstatfs(handle).ok()?.filesystem_type();
    let attributes = fstat(handle).ok()?;
    (system == PID_FS).then_some(attributes.st_ino)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn connections_of_one_process_share_one_handle_and_then_it_is_closed() {
        let places = Arc::new(Semaphore::new(1));
        let handles = Handles::new(Arc::clone(&places));
        let (here, _there) = UnixStream::pair().unwrap();
        let connect = || handles.share(UnixPeer::of(&here).unwrap());
        let first = connect().unwrap();
        let raw = first.pidfd().map(|handle| handle.as_raw_fd());
        let raw = raw.expect("this test needs Linux 6.5 or later");
        assert_eq!(places.available_permits(), 0);
        let number = number(first.handle().unwrap());
        assert!(number.is_some(), "this test needs Linux 6.9 or later");
        let second = connect().unwrap();
        assert_eq!(second.pidfd().unwrap().as_raw_fd(), raw);
        drop(first);
        assert_eq!(places.available_permits(), 0, "the second still holds it");
        drop(second);
        assert_eq!(places.available_permits(), 1);
        let known = handles.known.lock().unwrap();
        let held = known.by_number.values().filter(|h| h.strong_count() > 0);
        assert_eq!((known.by_number.len(), held.count()), (1, 0));
    }
}
