//! Which program a process runs: told apart by its file, never by its path.

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use contract::{Executable, ExecutablePath, ProcessError};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Statx, StatxTimestamp, openat2, readlinkat};
use rustix::io::Errno;

use super::proc_fs::{attributes, unreadable};

const WHAT: &str = "the program";

/// The file a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Program {
    device: (u32, u32),
    inode: u64,
    pub(super) size: u64,
    written: Moment,
    changed: Moment,
    linked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Moment {
    seconds: i64,
    nanoseconds: u32,
}

impl From<StatxTimestamp> for Moment {
    fn from(time: StatxTimestamp) -> Self {
        Self {
            seconds: time.tv_sec,
            nanoseconds: time.tv_nsec,
        }
    }
}

impl From<Statx> for Program {
    fn from(file: Statx) -> Self {
        Self {
            device: (file.stx_dev_major, file.stx_dev_minor),
            inode: file.stx_ino,
            size: file.stx_size,
            written: file.stx_mtime.into(),
            changed: file.stx_ctime.into(),
            linked: file.stx_nlink > 0,
        }
    }
}

impl Program {
    /// The program of the process whose folder `at` is.
    pub(super) fn of(at: BorrowedFd<'_>) -> Result<Self, ProcessError> {
        attributes(at, "exe", WHAT).map(Self::from)
    }

    /// The file behind a descriptor.
    pub(super) fn behind(file: BorrowedFd<'_>) -> Result<Self, ProcessError> {
        attributes(file, "", WHAT).map(Self::from)
    }

    /// Whether this is the same program, though its file may have been renamed,
    /// unlinked or linked since, as an upgrade does to programs that run.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.device == other.device
            && self.inode == other.inode
            && self.size == other.size
            && self.written == other.written
    }

    /// Whether the last change lies at least two seconds before `now`, so that
    /// no later change can bear the same time stamp, however coarse the file
    /// system's clock.
    pub(super) fn has_settled(&self, now_seconds: i64) -> bool {
        now_seconds.saturating_sub(self.changed.seconds.max(self.written.seconds)) >= 2
    }

    /// Where the file is, with the path held against it: a process in a mount
    /// namespace of its own can give its file any path.
    ///
    /// Without `may_block` the path is only looked up among what the kernel
    /// has cached, and [`ProcessError::WouldBlock`] says that this did not do.
    pub(super) fn executable(
        &self,
        at: BorrowedFd<'_>,
        may_block: bool,
    ) -> Result<Executable, ProcessError> {
        let link = readlinkat(at, "exe", Vec::with_capacity(256)).map_err(|error| match error {
            Errno::SRCH => ProcessError::Gone,
            error => unreadable(WHAT, error),
        })?;
        let path = Path::new(std::ffi::OsStr::from_bytes(link.as_bytes()));
        // A real name may end so, too; it gets no path selector, which is the safe side.
        let path = if !self.linked || link.as_bytes().ends_with(b" (deleted)") {
            ExecutablePath::Deleted
        } else if path.is_absolute() && self.is_found_at(path, may_block)? {
            ExecutablePath::Verified(PathBuf::from(path))
        } else {
            ExecutablePath::Elsewhere
        };
        Ok(Executable {
            path,
            size: self.size,
        })
    }

    fn is_found_at(&self, path: &Path, may_block: bool) -> Result<bool, ProcessError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The kernel's path holds no links: what has one is another file.
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let cached = openat2(
            CWD,
            path,
            flags,
            Mode::empty(),
            resolve | ResolveFlags::CACHED,
        );
        let file = match cached {
            Err(Errno::AGAIN | Errno::INVAL | Errno::NOSYS) if !may_block => {
                return Err(ProcessError::WouldBlock);
            }
            Err(Errno::AGAIN | Errno::INVAL) => openat2(CWD, path, flags, Mode::empty(), resolve),
            // Sandboxes that know no openat2; the file itself is compared below.
            Err(Errno::NOSYS) => rustix::fs::open(path, flags, Mode::empty()),
            cached => cached,
        };
        match file {
            Ok(file) => Ok(Self::behind(std::os::fd::AsFd::as_fd(&file))?.is(self)),
            Err(
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG,
            ) => Ok(false),
            Err(error) => Err(unreadable("the path of the program", error)),
        }
    }
}
