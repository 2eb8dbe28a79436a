//! The mounted `/proc`: everything about one process is opened below one
//! folder descriptor, so that no path can come to mean another process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use contract::ProcessError;
use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags, fstatfs, openat, statx};
use rustix::io::Errno;

/// The most of one file of `/proc` that is read, in bytes.
const MAX_FILE_BYTES: usize = 64 * 1024;
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// An open `/proc`.
#[derive(Debug)]
pub(super) struct ProcFs {
    root: OwnedFd,
}

impl ProcFs {
    /// Opens `/proc` at `root`, which must be a proc file system.
    pub(super) fn open(root: &Path) -> Result<Self, ProcessError> {
        let proc = Self::open_any(root)?;
        let kind = fstatfs(&proc.root).map_err(|e| unreadable("/proc", e))?;
        if u64::try_from(kind.f_type) != Ok(PROC_SUPER_MAGIC) {
            return Err(ProcessError::Refused("/proc is no proc file system"));
        }
        Ok(proc)
    }

    /// Opens any folder in place of `/proc`, for tests.
    pub(super) fn open_any(root: &Path) -> Result<Self, ProcessError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(root, flags, Mode::empty()).map_err(|e| unreadable("/proc", e))?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the folder of a process. Whose it is only the pidfd can say.
    pub(super) fn folder(&self, pid: u32) -> Result<OwnedFd, ProcessError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.root, pid.to_string(), flags, Mode::empty())
            .map_err(|e| gone_or("its folder", e))
    }

    /// Reads a small file whole.
    pub(super) fn read(
        &self,
        at: BorrowedFd<'_>,
        path: &str,
        what: &'static str,
    ) -> Result<Vec<u8>, ProcessError> {
        let file = openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| gone_or(what, e))?;
        // Most files fit; `status` is about 1.5 kB.
        let mut text = vec![0; 4096];
        let mut filled = 0;
        loop {
            let free = text.get_mut(filled..).unwrap_or_default();
            match rustix::io::read(&file, free) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(gone_or(what, error)),
            }
            if filled == text.len() {
                if filled >= MAX_FILE_BYTES {
                    return Err(ProcessError::Unreadable {
                        what,
                        why: "it is too long".to_owned(),
                    });
                }
                text.resize(filled * 2, 0);
            }
        }
        text.truncate(filled);
        Ok(text)
    }
}

/// Attributes of a file, from what the kernel knows already: a file system
/// served by a process or over a network is not asked, so it cannot make the
/// agent wait.
pub(super) fn attributes(
    at: BorrowedFd<'_>,
    path: &str,
    what: &'static str,
) -> Result<Statx, ProcessError> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    statx(at, path, flags, StatxFlags::BASIC_STATS).map_err(|e| gone_or(what, e))
}

/// The operating system's reason, without numbers or names of the process.
pub(super) fn unreadable(what: &'static str, error: Errno) -> ProcessError {
    if matches!(error, Errno::MFILE | Errno::NFILE) {
        return ProcessError::NoDescriptor;
    }
    ProcessError::Unreadable {
        what,
        why: std::io::Error::from(error).kind().to_string(),
    }
}

// Below an open folder of /proc, these say that the process was reaped.
fn gone_or(what: &'static str, error: Errno) -> ProcessError {
    match error {
        Errno::SRCH => ProcessError::Gone,
        error => unreadable(what, error),
    }
}
