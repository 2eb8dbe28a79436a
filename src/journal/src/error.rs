//! What can go wrong: with the journal as a whole, and with its files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Why a journal did not open or an append was not acknowledged.
///
/// Clonable, because everyone in a commit group gets the same answer.
#[derive(Clone, Debug, Error)]
pub enum JournalError {
    /// A payload is longer than the limit; nothing was appended.
    #[error("payload of {found} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Length of the payload, in bytes.
        found: usize,
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// The queue is full; nothing was appended. Try again later.
    #[error("journal queue is full")]
    Busy,
    /// The disk is full; nothing was appended and no part of it is visible.
    #[error("no space left for the journal")]
    Full,
    /// The journal cannot write now. Nothing was acknowledged, and what may have been
    /// written is taken back before anything else is appended. It tries again by itself.
    #[error("journal cannot write now: {0}")]
    Unavailable(Arc<str>),
    /// Something acknowledged is damaged, or the writer ended. This journal accepts
    /// nothing more: restart the process.
    #[error("journal failed and accepts no more records: {0}")]
    Failed(Arc<str>),
    /// The journal was closed.
    #[error("journal is closed")]
    Closed,
    /// Another process or handle has this journal open.
    #[error("journal is in use by another process")]
    InUse,
    /// The journal was made with another [`crate::Options::origin`].
    #[error("journal belongs to another origin")]
    OtherOrigin,
    /// Something that was acknowledged is damaged or gone.
    #[error("journal is damaged: {0}")]
    Damaged(#[from] Fault),
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Arc<io::Error>,
    },
}

impl JournalError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    /// As [`JournalError::io`], where a full disk or an exhausted quota leaves no trace.
    pub(crate) fn no_space(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::io(operation, path)(source),
        }
    }
}

/// Where the files are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first record that cannot be vouched for.
    pub seq: u64,
    /// The file it is, or should be, in.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seq,
            file,
            offset,
            what,
        } = self;
        write!(
            f,
            "record {seq}: {what} ({} at byte {offset})",
            file.display()
        )
    }
}

impl std::error::Error for Fault {}
