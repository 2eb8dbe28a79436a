//! What a workload attestor may ask about the process that called.

use std::path::PathBuf;

/// The process at the other end of a Unix socket, as the host sees it.
///
/// A host answers from one consistent look at one process: the answers belong
/// together, and the host throws all of them away when the process died or
/// became another program while it was looked at. The methods block (hashing
/// may take milliseconds), so the host calls attestors off its event loop.
///
/// An answer that does not exist (a uid without a name) is `None`; an answer
/// that could not be found out is an error, which an attestor passes on.
pub trait Process: Send + Sync {
    /// The user, from the socket's credentials; real, effective and saved uid
    /// of the process are equal to it.
    fn uid(&self) -> u32;

    /// The group, from the socket's credentials; real, effective and saved gid
    /// of the process are equal to it.
    fn gid(&self) -> u32;

    /// The process ID in the host's PID namespace, for people to read. Never a
    /// handle: it may belong to another process by the time it is used.
    fn pid(&self) -> u32;

    /// How surely this is the process that connected.
    fn strength(&self) -> Strength;

    /// The supplementary groups, ascending.
    ///
    /// # Errors
    /// They could not be read.
    fn supplementary_groups(&self) -> Result<&[u32], ProcessError>;

    /// The program that the process runs.
    ///
    /// # Errors
    /// It could not be read.
    fn executable(&self) -> Result<Executable, ProcessError>;

    /// SHA-256 of the program, read through the process and not by its path.
    ///
    /// # Errors
    /// The program has more than `limit_bytes`, could not be read, or was
    /// written to meanwhile; or the host is too busy hashing.
    fn executable_sha256(&self, limit_bytes: u64) -> Result<[u8; 32], ProcessError>;

    /// The name of a user in the host's database.
    ///
    /// # Errors
    /// The database could not be read.
    fn user_name(&self, uid: u32) -> Result<Option<String>, ProcessError>;

    /// The name of a group in the host's database.
    ///
    /// # Errors
    /// The database could not be read.
    fn group_name(&self, gid: u32) -> Result<Option<String>, ProcessError>;

    /// The control groups of the process, as `/proc/<pid>/cgroup` lists them.
    ///
    /// # Errors
    /// They could not be read.
    fn control_groups(&self) -> Result<Vec<ControlGroup>, ProcessError>;

    /// Whether an attestor may wait for an answer now. The host asks first where
    /// nobody may wait: an attestor that needs more than this trait answers
    /// (a container engine, a process of its own) takes it from memory or fails
    /// with [`ProcessError::WouldBlock`], and is asked again on a thread that
    /// may wait, within the host's deadline.
    fn may_wait(&self) -> bool;
}

/// How a process is tied to the connection it was looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// By its number and start time: the process may have replaced the one
    /// that connected, in the moment between connecting and being looked at.
    Weak,
    /// By the kernel's handle to the process that connected.
    Strong,
}

impl Strength {
    /// `weak` or `strong`, for logs and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::Strong => "strong",
        }
    }
}

/// The program a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// Where it is.
    pub path: ExecutablePath,
    /// Its size in bytes.
    pub size: u64,
}

/// Where a program is, if that can be said.
///
/// A path is a fact only when it leads the host to the very file that the
/// process runs. Everything else is no path at all: a process can name its
/// own file as it likes inside a mount namespace it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutablePath {
    /// This path, followed from the host's root, is the file that runs.
    Verified(PathBuf),
    /// The file was unlinked or replaced since the process started, or never
    /// had a name (memfd).
    Deleted,
    /// The path is another file, or none, as the host sees the file system:
    /// another mount namespace, a container, or a folder hidden from the host.
    Elsewhere,
}

impl ExecutablePath {
    /// The path, when it is a fact.
    #[must_use]
    pub fn verified(&self) -> Option<&std::path::Path> {
        match self {
            Self::Verified(path) => Some(path),
            Self::Deleted | Self::Elsewhere => None,
        }
    }
}

/// One line of `/proc/<pid>/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlGroup {
    /// The hierarchy's number; 0 is the unified one (cgroup v2).
    pub hierarchy: u32,
    /// The controllers, separated by commas; empty for the unified hierarchy.
    pub controllers: String,
    /// The group's path in its hierarchy.
    pub path: String,
}

/// Why something about a process is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// The process that connected has ended.
    #[error("the process that connected has ended")]
    Gone,
    /// The process is not what it was: it ran another program, or changed user.
    #[error("the process changed while it was attested: {0}")]
    Changed(&'static str),
    /// The process is of a sort that gets no identity here.
    #[error("the process is not attested: {0}")]
    Refused(&'static str),
    /// Something could not be read.
    #[error("{what} of the process could not be read: {why}")]
    Unreadable {
        /// What, such as "the supplementary groups".
        what: &'static str,
        /// The operating system's reason.
        why: String,
    },
    /// The program is larger than what may be hashed.
    #[error("the program has {size} bytes; at most {limit} are hashed")]
    TooLarge {
        /// The program's size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is no such fact about this process, though nothing failed. An
    /// attestor leaves the fact out.
    #[error("{0}")]
    NoFact(&'static str),
    /// Too many processes are being looked at, or it took too long.
    #[error("the process was not looked at in time; try again")]
    Busy,
    /// No descriptor is left to look at the process with.
    #[error(
        "no file descriptor is left to look at the process with; try again, and raise LimitNOFILE of the agent"
    )]
    NoDescriptor,
    /// The answer needs waiting, and the host is asking where nobody may wait.
    /// An attestor passes this on; the host then asks again elsewhere.
    #[error("the answer is not at hand")]
    WouldBlock,
}

impl ProcessError {
    /// Whether the same call may succeed when tried again, the process being
    /// the same.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::NoDescriptor)
    }
}
