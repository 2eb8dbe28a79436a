//! What the agent keeps in its data folder, so that a restart needs neither a
//! token nor a server: its own key and SVID, the bundle it trusts, and the
//! workloads' SVIDs.
//!
//! Every file is written whole: to a temporary name, synced, renamed, and the
//! folder synced. A file is sealed when the admin gave a key for it.

mod folder;
mod held;
mod own;
mod revoked;
mod seal;
mod trusted;

pub(crate) use folder::{Folder, read_limited, read_secret};
pub(crate) use held::{HeldState, HeldSvid, entry_from_held};
pub(crate) use own::OwnIdentity;
pub(crate) use revoked::KeptRevocations;
pub(crate) use seal::SealKey;
pub(crate) use trusted::TrustedBundle;

use std::io;
use std::path::PathBuf;

/// Why something on disk cannot be used; each says which file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refused.
    #[error("{operation} {path} failed: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Others could read or change the agent's secrets.
    #[error(
        "{path} has mode {mode:o} and owner {owner}; make it 0700 and our own (chmod 700, chown)"
    )]
    Loose {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner's uid.
        owner: u32,
    },
    /// Another agent runs on this folder.
    #[error("{path} is in use by another agent; stop it, or give this one its own data_dir")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The file is larger than the agent ever writes.
    #[error("{path} has more than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// A file with a secret cannot be used.
    #[error("{path}: {source}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        source: keys::secret_file::SecretFileError,
    },
    /// The file is sealed and no key was given, or another one.
    #[error("{path} is sealed and does not open: {why}")]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// The file is not what the agent wrote.
    #[error("{path} is damaged or of a newer version: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its contents.
        why: String,
    },
    /// The node was banned meanwhile.
    #[error("nothing is stored any more: this node was banned")]
    Closed,
    /// The system gave no randomness.
    #[error("the system gave no random bytes")]
    Entropy,
}
