//! What ties a look at a process to the process that connected: a pidfd.
//!
//! `PIDFD_GET_INFO` would give pid, uids and cgroup in one call, but has no
//! safe wrapper, and this product holds no unsafe code. Nothing is lost by it:
//! a pid cannot be given to another process before the old one was reaped, and
//! a pidfd turns readable before that. So whoever opens `/proc/<pid>` and then
//! still finds the pidfd unreadable has opened the right process's folder, and
//! all reads below that folder are of the process or fail.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use channel::uds::UnixPeer;
use contract::{ProcessError, Strength};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::parse;
use super::proc_fs::{ProcFs, unreadable};

/// Who connected, as the kernel recorded it, with the handle to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) pid: u32,
    pub(super) pidfd: BorrowedFd<'a>,
    pub(super) strength: Strength,
}

impl<'a> Peer<'a> {
    /// The peer of a connection. `pidfd` is its handle, or the one that was opened
    /// by number when the kernel gave none.
    pub(super) fn new(peer: &UnixPeer, pidfd: BorrowedFd<'a>) -> Result<Self, ProcessError> {
        let strength = match peer.pidfd() {
            Some(_) => Strength::Strong,
            None => Strength::Weak,
        };
        Ok(Self {
            uid: peer.uid(),
            gid: peer.gid(),
            pid: visible(peer.pid())?,
            pidfd,
            strength,
        })
    }

    /// Fails when the process has ended, be it reaped or a zombie. A signal 0
    /// would still find a zombie.
    pub(super) fn is_alive(&self) -> Result<(), ProcessError> {
        is_alive(self.pidfd)
    }

    /// Fails unless the handle stands for `pid` in the PID namespace of the
    /// mounted `/proc`: a number of another namespace would name a stranger.
    /// Once for each connection is enough, since a process keeps its number
    /// for as long as the handle says that it lives.
    pub(super) fn is_numbered_by(&self, proc: &ProcFs) -> Result<(), ProcessError> {
        let what = "the number";
        let path = format!("self/fdinfo/{}", self.pidfd.as_raw_fd());
        let text = proc.read(proc.root(), &path, what)?;
        match parse::pidfd_pid(&text) {
            Ok(-1) => Err(ProcessError::Gone),
            Ok(pid) if u32::try_from(pid) == Ok(self.pid) => Ok(()),
            Ok(_) => Err(ProcessError::Refused(
                "its number differs in the agent's /proc, which is of another PID namespace",
            )),
            Err(error) => Err(ProcessError::Unreadable {
                what,
                why: error.0.to_owned(),
            }),
        }
    }
}

pub(super) fn is_alive(pidfd: BorrowedFd<'_>) -> Result<(), ProcessError> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(ProcessError::Gone),
            Err(Errno::INTR) => {}
            Err(error) => return Err(unreadable("the state", error)),
        }
    }
}

/// Opens a handle by number, for kernels before 6.5 that do not hand one out.
pub(super) fn open_by_number(pid: i32) -> Result<OwnedFd, ProcessError> {
    let number = i32::try_from(visible(pid)?).ok().and_then(Pid::from_raw);
    let number = number.ok_or(ProcessError::Gone)?;
    match pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(pidfd),
        Err(Errno::SRCH) => Err(ProcessError::Gone),
        Err(error) => Err(unreadable("the handle", error)),
    }
}

/// The number, if the process is in a PID namespace that the agent sees.
pub(super) fn visible(pid: i32) -> Result<u32, ProcessError> {
    match u32::try_from(pid) {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err(ProcessError::Refused(
            "it is in a PID namespace that the agent does not see",
        )),
    }
}
