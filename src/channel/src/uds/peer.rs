//! Who connected, in the kernel's words.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use tokio::sync::Notify;

use super::ProcessHandle;

/// The process that connected, as the kernel recorded it at `connect()`.
///
/// Uid and gid are those of that moment. The process may since have exited,
/// handed its socket to another or become another program: only the pidfd still
/// means the same process, so what is decided now is checked against that.
#[derive(Debug)]
pub struct UnixPeer {
    uid: u32,
    gid: u32,
    pid: i32,
    pidfd: Option<Arc<ProcessHandle>>,
    /// The connection is to end now.
    ending: Notify,
}

impl UnixPeer {
    /// Asks the kernel who is at the other end of a connected Unix socket.
    ///
    /// # Errors
    /// The kernel does not say, or the process is already gone.
    pub fn of(stream: &impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
        let pidfd = match getsockopt(stream, sockopt::PeerPidfd) {
            Ok(pidfd) => Some(Arc::new(pidfd.into())),
            // Before Linux 6.5 the option does not exist.
            Err(Errno::ENOPROTOOPT) => None,
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
            pidfd,
            ending: Notify::new(),
        })
    }

    /// A process that did not connect but that an admin names, to say what would
    /// be attested of it if it did. The caller vouches that user, group and number
    /// are those of the process behind the descriptor.
    #[must_use]
    pub fn named(uid: u32, gid: u32, pid: i32, pidfd: Option<OwnedFd>) -> Self {
        Self {
            uid,
            gid,
            pid,
            pidfd: pidfd.map(|pidfd| Arc::new(pidfd.into())),
            ending: Notify::new(),
        }
    }

    /// The same peer as a kernel before 6.5 would give it, to try out on newer
    /// ones what remains without the descriptor.
    #[must_use]
    pub fn without_pidfd(self) -> Self {
        Self {
            pidfd: None,
            ..self
        }
    }

    /// The effective user id at connect time.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// The effective group id at connect time.
    #[must_use]
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// The process id at connect time, in our namespace; 0 when the process is
    /// not visible from it. A number may since belong to another process.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// A descriptor of exactly that process; `None` on kernels before 6.5.
    /// Recent kernels give one even for a process that was already reaped, so
    /// having it does not prove that the process lives.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|pidfd| pidfd.as_fd())
    }

    /// The same descriptor, to hold beyond this value. All open connections of one
    /// process to one listener share it, where the kernel (since 6.9) tells
    /// processes apart by it.
    #[must_use]
    pub const fn handle(&self) -> Option<&Arc<ProcessHandle>> {
        self.pidfd.as_ref()
    }

    /// Ends the connection now, whatever its streams are doing: for a peer that does not
    /// take what it asked for, so that nothing sent on it would arrive.
    pub fn end_connection(&self) {
        self.ending.notify_one();
    }

    /// Completes when the connection is to end.
    pub(crate) async fn ending(&self) {
        self.ending.notified().await;
    }

    /// The same peer with another descriptor of the same process.
    pub(super) fn with_handle(self, pidfd: Arc<ProcessHandle>) -> Self {
        Self {
            pidfd: Some(pidfd),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn both_ends_of_a_pair_are_this_process() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = UnixPeer::of(&here).unwrap();
        assert_eq!(peer.uid(), nix::unistd::geteuid().as_raw());
        assert_eq!(peer.gid(), nix::unistd::getegid().as_raw());
        assert_eq!(peer.pid(), nix::unistd::getpid().as_raw());
    }

    #[test]
    fn the_pidfd_is_of_the_connector_and_is_not_inherited() {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = UnixPeer::of(&here).unwrap();
        let pidfd = peer.pidfd().expect("this test needs Linux 6.5 or later");
        let flags = FdFlag::from_bits_truncate(fcntl(pidfd, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
    }
}
