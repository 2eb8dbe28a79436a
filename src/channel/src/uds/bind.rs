//! Binding a Unix socket where nobody else can replace it.
//!
//! What must hold afterwards: every directory on the way belongs to root or to
//! us and lets nobody else rename what is in it; the name was free, or held a
//! dead socket of ours; the socket was never, not even for a moment, more open
//! than asked. Two of our own processes starting at the same instant on the same
//! path are not kept apart here: their data directories' locks do that.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{getegid, geteuid};
use tokio::net::UnixListener;

/// The longest path of a socket, in bytes (`sun_path`, without its final zero).
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

const STICKY: u32 = 0o1000;
const GROUP_WRITABLE: u32 = 0o020;
const OTHERS_WRITABLE: u32 = 0o002;

/// How a socket is to be found in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Permission bits of the socket: 0o666 for workloads, 0o600 for admins.
    pub mode: u32,
    /// Permission bits of directories that have to be created.
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
    /// Not a path a socket can have.
    #[error("{path} cannot be a socket's path: {reason}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// Something that is no socket of ours has the name.
    #[error("{path} exists and is not a socket of ours; remove it or choose another path")]
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

/// Binds and listens at `path`; must be called inside a tokio runtime.
///
/// Missing directories are created. A dead socket of ours is replaced.
///
/// # Errors
/// The place is unsafe, taken by something else, or the system refuses.
pub fn bind(path: &Path, options: SocketOptions) -> Result<UnixListener, BindError> {
    let (directory, name) = match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) if path.is_absolute() => (directory, name),
        _ => return Err(bad_path(path, "give an absolute path that ends in a name")),
    };
    if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        return Err(bad_path(
            path,
            "it has more than 107 bytes; choose a shorter one",
        ));
    }
    create_missing(directory, options.directory_mode)?;
    // Symbolic links on the way (/var/run) are followed once, here; what they
    // lead to is what is checked and used.
    let directory =
        fs::canonicalize(directory).map_err(|source| failed("resolving", directory, source))?;
    check_directories(&directory)?;
    let path = directory.join(name);
    clear(&path)?;
    listen_at(&path, options.mode)
}

/// Creates what is missing of `directory`, with exactly this mode whatever the
/// umask: a workload must be able to reach its socket.
fn create_missing(directory: &Path, mode: u32) -> Result<(), BindError> {
    if directory.exists() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        create_missing(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(mode))
            .map_err(|source| failed("setting the mode of", directory, source)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(failed("creating", directory, source)),
    }
}

fn check_directories(directory: &Path) -> Result<(), BindError> {
    let us = geteuid().as_raw();
    let our_group = getegid().as_raw();
    for ancestor in directory.ancestors() {
        let meta = fs::symlink_metadata(ancestor)
            .map_err(|source| failed("inspecting", ancestor, source))?;
        if let Some(reason) = unsafe_reason(&meta, us, our_group) {
            return Err(BindError::UnsafeDirectory {
                path: ancestor.to_owned(),
                reason,
            });
        }
    }
    Ok(())
}

fn unsafe_reason(meta: &Metadata, us: u32, our_group: u32) -> Option<&'static str> {
    if !meta.is_dir() {
        return Some("it is not a directory");
    }
    if meta.uid() != us && meta.uid() != 0 {
        return Some(
            "it belongs to another user; it must belong to root or to this process's user",
        );
    }
    // In a sticky directory others may add names, but not replace ours.
    if meta.mode() & STICKY != 0 {
        return None;
    }
    if meta.mode() & OTHERS_WRITABLE != 0 {
        return Some("everyone may write to it; remove that permission (chmod o-w)");
    }
    let foreign_group = meta.gid() != our_group && meta.gid() != 0;
    if meta.mode() & GROUP_WRITABLE != 0 && foreign_group {
        return Some("another group may write to it; remove that permission (chmod g-w)");
    }
    None
}

/// Makes the name free, if it holds nothing but a dead socket of ours.
fn clear(path: &Path) -> Result<(), BindError> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("inspecting", path, source)),
    };
    let ours = meta.uid() == geteuid().as_raw() || meta.uid() == 0;
    if !meta.file_type().is_socket() || !ours {
        return Err(BindError::InTheWay {
            path: path.to_owned(),
        });
    }
    match probe(path) {
        Err(Errno::ECONNREFUSED) => {
            fs::remove_file(path).map_err(|source| failed("removing", path, source))
        }
        Err(Errno::ENOENT) => Ok(()),
        // A full backlog answers EAGAIN: somebody listens all the same.
        Ok(()) | Err(Errno::EAGAIN) => Err(BindError::InUse {
            path: path.to_owned(),
        }),
        Err(errno) => Err(failed("probing", path, errno.into())),
    }
}

fn probe(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(probe.as_raw_fd(), &UnixAddr::new(path)?)
}

fn listen_at(path: &Path, mode: u32) -> Result<UnixListener, BindError> {
    let failed = |operation, source: io::Error| failed(operation, path, source);
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|errno| failed("opening a socket for", errno.into()))?;
    // Linux gives the name the socket's own mode (less the umask), so it is
    // closed to others until it is opened on purpose below.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(|errno| failed("setting the mode of", errno.into()))?;
    let address = UnixAddr::new(path).map_err(|errno| failed("naming", errno.into()))?;
    nix::sys::socket::bind(fd.as_raw_fd(), &address)
        .map_err(|errno| failed("binding", errno.into()))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|source| failed("setting the mode of", source))?;
    listen(&fd, Backlog::MAXCONN).map_err(|errno| failed("listening on", errno.into()))?;
    UnixListener::from_std(fd.into()).map_err(|source| failed("registering", source))
}

fn bad_path(path: &Path, reason: &'static str) -> BindError {
    BindError::Path {
        path: path.to_owned(),
        reason,
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> BindError {
    BindError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}
