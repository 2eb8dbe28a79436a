//! What was seen of a process at the moment its connection was accepted, to
//! hold every later call on that connection against.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use channel::uds::UnixPeer;
use contract::ProcessError;
use rustix::io::fcntl_dupfd_cloexec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ProcessHost;
use super::anchor::{self, Peer};
use super::proc_fs::unreadable;
use super::program::Program;
use super::snapshot::Snapshot;

/// The first look at a connection's process.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) program: Option<Program>,
    pub(super) started: Option<u64>,
    /// Opened by number, where the kernel gave no handle.
    substitute: Option<OwnedFd>,
    /// One registration with the event loop, shared by all streams of the
    /// connection; made when the first asks for it.
    death: OnceLock<Arc<AsyncFd<OwnedFd>>>,
}

impl Seen {
    pub(super) fn of(host: &Arc<ProcessHost>, peer: &UnixPeer) -> Result<Self, ProcessError> {
        let substitute = match peer.pidfd() {
            Some(_) => None,
            None if host.options.refuse_weak => {
                return Err(ProcessError::Refused(
                    "the kernel gives no handle to it (that needs Linux 6.5), and the agent is configured to refuse weak attestation",
                ));
            }
            None => Some(anchor::open_by_number(peer.pid())?),
        };
        let (program, started) = {
            let peer = Peer::new(peer, substitute.as_ref())?;
            peer.is_numbered_by(&host.proc)?;
            let look = Snapshot::take(host, peer, false)?;
            (look.program(), look.started())
        };
        Ok(Self {
            program,
            started,
            substitute,
            death: OnceLock::new(),
        })
    }

    pub(super) fn peer<'a>(&'a self, peer: &'a UnixPeer) -> Result<Peer<'a>, ProcessError> {
        Peer::new(peer, self.substitute.as_ref())
    }

    /// Fails when the program is another than the one that was accepted.
    pub(super) fn check_program(&self, now: Option<Program>) -> Result<(), ProcessError> {
        match (self.program, now) {
            (Some(then), Some(now)) if then.is(&now) => Ok(()),
            (None, None) => Ok(()),
            _ => Err(ProcessError::Changed(
                "it runs another program than when it connected",
            )),
        }
    }

    /// Fails when the number belongs to a process that started at another time.
    pub(super) fn check_start(&self, now: Option<u64>) -> Result<(), ProcessError> {
        if self.started == now {
            Ok(())
        } else {
            Err(ProcessError::Changed("its number went to another process"))
        }
    }

    /// Something that becomes readable when the process ends.
    pub(super) fn death(&self, peer: &UnixPeer) -> Result<Arc<AsyncFd<OwnedFd>>, ProcessError> {
        if let Some(death) = self.death.get() {
            return Ok(Arc::clone(death));
        }
        let pidfd = self.peer(peer)?.pidfd;
        // A descriptor of its own: the event loop knows each only once.
        let own = fcntl_dupfd_cloexec(pidfd.as_fd(), 0).map_err(|e| unreadable("the handle", e))?;
        let death = register(own).map_err(|error| ProcessError::Unreadable {
            what: "the end",
            why: error.kind().to_string(),
        })?;
        Ok(Arc::clone(self.death.get_or_init(|| Arc::new(death))))
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; what that asks for holds: the descriptor is owned and never replaced"
)]
fn register(own: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(own, Interest::READABLE)
}
