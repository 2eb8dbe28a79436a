//! One consistent look at one process: the host's answers to the attestors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use contract::{ControlGroup, Executable, Process, ProcessError, Strength};

use super::anchor::Peer;
use super::parse::{self, Status, Unexpected};
use super::proc_fs::{ProcFs, attributes};
use super::program::Program;
use super::{ProcessHost, hash::HashRequest};

/// What was found of a process, and the open folder to find more.
///
/// Taking one costs some ten microseconds. What attestors learned from it
/// counts only if [`Snapshot::confirm`] succeeds afterwards.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    host: &'a Arc<ProcessHost>,
    peer: Peer<'a>,
    folder: OwnedFd,
    program: Option<Program>,
    started: Option<u64>,
    groups: Vec<u32>,
    may_block: bool,
}

impl<'a> Snapshot<'a> {
    /// Looks at the process that connected.
    ///
    /// # Errors
    /// It has ended, it is in no state to be attested, or `/proc` does not say.
    pub(super) fn take(
        host: &'a Arc<ProcessHost>,
        peer: Peer<'a>,
        may_block: bool,
    ) -> Result<Self, ProcessError> {
        peer.is_alive()?;
        let folder = host.proc.folder(peer.pid).map_err(|error| {
            // Absent because it ended, or because /proc hides it: two different errors.
            peer.is_alive().err().unwrap_or(error)
        })?;
        let at = folder.as_fd();
        host.numbers.check(&host.proc, at, (peer.uid, peer.gid))?;
        let program = if host.options.programs {
            Some(Program::of(at).map_err(|error| peer.is_alive().err().unwrap_or(error))?)
        } else {
            None
        };
        let status = read_status(&host.proc, at)?;
        let started = match peer.strength {
            Strength::Strong => None,
            Strength::Weak => Some(start_time(&host.proc, at)?),
        };
        // Not ended yet, so its number was not given to another since the
        // folder was opened, and all of the above is about this process.
        peer.is_alive()?;
        check_ids(&status, peer.uid, peer.gid)?;
        let mut groups = status.groups;
        groups.retain(|gid| !host.numbers.is_doubtful_group(*gid));
        Ok(Self {
            host,
            peer,
            folder,
            program,
            started,
            groups,
            may_block,
        })
    }

    /// The program the process runs, if programs are looked at.
    pub(super) fn program(&self) -> Option<Program> {
        self.program
    }

    /// When it started, in ticks since boot, if that is needed to know it again.
    pub(super) fn started(&self) -> Option<u64> {
        self.started
    }

    /// Holds the process against the look taken: still alive, the same program,
    /// the same user. To be called after the attestors are done.
    ///
    /// # Errors
    /// It ended or changed; nothing that was learned counts.
    pub(super) fn confirm(&self) -> Result<(), ProcessError> {
        let at = self.folder.as_fd();
        if let Some(program) = self.program
            && !Program::of(at)
                .map_err(|error| self.peer.is_alive().err().unwrap_or(error))?
                .is(&program)
        {
            return Err(ProcessError::Changed("it runs another program"));
        }
        check_owner(owner(at)?, self.peer.uid, self.peer.gid)?;
        if let Some(started) = self.started
            && start_time(&self.host.proc, at)? != started
        {
            return Err(ProcessError::Changed("its number went to another process"));
        }
        self.peer.is_alive()
    }

    fn known_program(&self) -> Result<&Program, ProcessError> {
        self.program
            .as_ref()
            .ok_or_else(|| ProcessError::Unreadable {
                what: "the program",
                why: "the agent is configured not to look at programs".to_owned(),
            })
    }
}

/// User and group of the process whose folder `at` is.
pub(super) fn owner(at: BorrowedFd<'_>) -> Result<(u32, u32), ProcessError> {
    let folder = attributes(at, "", "the user")?;
    Ok((folder.stx_uid, folder.stx_gid))
}

/// Whether the folder of a process still belongs to the user and group that
/// connected: the kernel shows the effective ids there.
pub(super) fn check_owner(owner: (u32, u32), uid: u32, gid: u32) -> Result<(), ProcessError> {
    if owner != (uid, gid) {
        return Err(ProcessError::Changed("its user or group is another one"));
    }
    Ok(())
}

// The credentials of the socket are from the moment of connecting. A process
// that has since changed its user, or holds a second one in reserve, is not
// the process that those credentials describe.
fn check_ids(status: &Status, uid: u32, gid: u32) -> Result<(), ProcessError> {
    if matches!(status.state, b'Z' | b'X' | b'x') {
        return Err(ProcessError::Gone);
    }
    if status.uids != [uid; 4] {
        return Err(ProcessError::Changed(
            "its real, effective and saved user are not the one that connected",
        ));
    }
    if status.gids != [gid; 4] {
        return Err(ProcessError::Changed(
            "its real, effective and saved group are not the one that connected",
        ));
    }
    Ok(())
}

fn read_status(proc: &ProcFs, at: BorrowedFd<'_>) -> Result<Status, ProcessError> {
    let what = "the status";
    let text = proc.read(at, "status", what)?;
    parse::status(&text).map_err(|error| unexpected(what, error))
}

fn start_time(proc: &ProcFs, at: BorrowedFd<'_>) -> Result<u64, ProcessError> {
    let what = "the start time";
    let text = proc.read(at, "stat", what)?;
    parse::start_time(&text).map_err(|error| unexpected(what, error))
}

fn unexpected(what: &'static str, error: Unexpected) -> ProcessError {
    ProcessError::Unreadable {
        what,
        why: error.0.to_owned(),
    }
}

impl Process for Snapshot<'_> {
    fn uid(&self) -> u32 {
        self.peer.uid
    }

    fn gid(&self) -> u32 {
        self.peer.gid
    }

    fn pid(&self) -> u32 {
        self.peer.pid
    }

    fn strength(&self) -> Strength {
        self.peer.strength
    }

    fn supplementary_groups(&self) -> Result<&[u32], ProcessError> {
        Ok(&self.groups)
    }

    fn executable(&self) -> Result<Executable, ProcessError> {
        self.known_program()?
            .executable(self.folder.as_fd(), self.may_block)
    }

    fn executable_sha256(&self, limit_bytes: u64) -> Result<[u8; 32], ProcessError> {
        self.host.hashes.sha256(&HashRequest {
            folder: self.folder.as_fd(),
            program: self.known_program()?,
            limit_bytes,
            may_block: self.may_block,
            clock: &self.host.clock,
        })
    }

    fn user_name(&self, uid: u32) -> Result<Option<String>, ProcessError> {
        self.host
            .users
            .name(uid, self.may_block, self.host.clock.boottime())
    }

    fn group_name(&self, gid: u32) -> Result<Option<String>, ProcessError> {
        self.host
            .groups
            .name(gid, self.may_block, self.host.clock.boottime())
    }

    fn control_groups(&self) -> Result<Vec<ControlGroup>, ProcessError> {
        let what = "the control groups";
        let text = self.host.proc.read(self.folder.as_fd(), "cgroup", what)?;
        parse::control_groups(&text).map_err(|error| unexpected(what, error))
    }

    fn may_wait(&self) -> bool {
        self.may_block
    }
}
