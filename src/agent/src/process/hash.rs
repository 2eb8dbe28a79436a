//! SHA-256 of programs: read through the process, bounded in size and time,
//! remembered by the file.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use contract::ProcessError;
use ring::digest::{Context, SHA256};
use rustix::fs::{Mode, OFlags, fstatfs, openat};
use rustix::io::Errno;

use super::proc_fs::unreadable;
use super::program::Program;
use crate::clock::Clock;

/// How many programs are remembered; beyond that all are forgotten at once.
const REMEMBERED: usize = 1024;
/// How long hashing one program may take.
const DEADLINE: Duration = Duration::from_secs(5);
const CHUNK: usize = 128 * 1024;
const WHAT: &str = "the bytes of the program";
const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;

/// One program to hash.
pub(super) struct HashRequest<'a> {
    /// The open folder of the process.
    pub(super) folder: BorrowedFd<'a>,
    /// The program as it was found by the look.
    pub(super) program: &'a Program,
    /// The most bytes to hash.
    pub(super) limit_bytes: u64,
    /// Whether to read the file at all.
    pub(super) may_block: bool,
    /// For the deadline, and to tell files that have settled.
    pub(super) clock: &'a Clock,
}

/// Hashes of programs, by device, inode, size and both time stamps.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    known: Mutex<HashMap<Program, [u8; 32]>>,
}

impl Hashes {
    /// The hash of a program, from memory or from its bytes.
    pub(super) fn sha256(&self, request: &HashRequest<'_>) -> Result<[u8; 32], ProcessError> {
        let program = request.program;
        if program.size > request.limit_bytes {
            return Err(ProcessError::TooLarge {
                size: program.size,
                limit: request.limit_bytes,
            });
        }
        if let Some(known) = self.lock().get(program) {
            return Ok(*known);
        }
        if !request.may_block {
            return Err(ProcessError::WouldBlock);
        }
        let hash = read_and_hash(request)?;
        // A file that was just written may be written once more within the same
        // tick of the file system's clock: such a hash is used once and forgotten.
        if program.has_settled(request.clock.now().0) {
            let mut known = self.lock();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(*program, hash);
        }
        Ok(hash)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Program, [u8; 32]>> {
        // A panic elsewhere cannot leave half an entry behind.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_and_hash(request: &HashRequest<'_>) -> Result<[u8; 32], ProcessError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = openat(request.folder, "exe", flags, Mode::empty()).map_err(|e| match e {
        Errno::SRCH => ProcessError::Gone,
        e => unreadable(WHAT, e),
    })?;
    let same = |file: BorrowedFd<'_>| -> Result<(), ProcessError> {
        if Program::behind(file)? == *request.program {
            Ok(())
        } else {
            Err(ProcessError::Changed(
                "its program is not the one looked at",
            ))
        }
    };
    same(file.as_fd())?;
    let kind = fstatfs(&file).map_err(|e| unreadable(WHAT, e))?.f_type;
    if u64::try_from(kind) == Ok(FUSE_SUPER_MAGIC) {
        // Its bytes may differ at each reading, so that a hash would say nothing
        // of what runs; and reading them could take for ever.
        return Err(ProcessError::NoFact(
            "the program lies on a file system that another process serves",
        ));
    }
    let end = request.clock.boottime() + DEADLINE;
    let mut context = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK];
    let mut left = request.limit_bytes;
    loop {
        let read = match rustix::io::read(&file, chunk.as_mut_slice()) {
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(unreadable(WHAT, error)),
        };
        let Some(bytes) = chunk.get(..read).filter(|b| !b.is_empty()) else {
            break;
        };
        context.update(bytes);
        let count = u64::try_from(read).unwrap_or(u64::MAX);
        // Grown while it was read: the check below would find it, if it ended.
        left = left
            .checked_sub(count)
            .ok_or(ProcessError::Changed("its program grew while it was read"))?;
        if request.clock.boottime() > end {
            return Err(ProcessError::Busy);
        }
    }
    same(file.as_fd())?;
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Ok(hash)
}
