//! What was seen of a process at the moment its connection was accepted, to
//! hold every later call on that connection against.

use std::sync::Arc;

use channel::uds::UnixPeer;
use contract::ProcessError;

use super::ProcessHost;
use super::anchor::{self, Peer};
use super::program::Program;
use super::snapshot::{Snapshot, check_owner};
use super::watched::{Facts, Watched};

/// The first look at a connection's process.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) program: Option<Program>,
    pub(super) started: Option<u64>,
    pub(super) watched: Arc<Watched>,
}

impl Seen {
    pub(super) fn of(host: &Arc<ProcessHost>, peer: &UnixPeer) -> Result<Self, ProcessError> {
        let pid = anchor::visible(peer.pid())?;
        let watched = match peer.handle() {
            Some(handle) => host.watched.of(handle, pid),
            None if host.options.refuse_weak => {
                return Err(ProcessError::Refused(
                    "the kernel gives no handle to it (that needs Linux 6.5), and the agent is configured to refuse weak attestation",
                ));
            }
            // Opened by number: of this connection alone, for who knows whose it is.
            None => Watched::new(Arc::new(anchor::open_by_number(peer.pid())?.into()), pid),
        };
        let (program, started) = {
            let peer = Peer::new(peer, watched.pidfd())?;
            peer.is_numbered_by(&host.proc)?;
            let look = Snapshot::take(host, peer, false)?;
            (look.program(), look.started())
        };
        Ok(Self {
            program,
            started,
            watched,
        })
    }

    pub(super) fn peer<'a>(&'a self, peer: &'a UnixPeer) -> Result<Peer<'a>, ProcessError> {
        Peer::new(peer, self.watched.pidfd())
    }

    /// Fails when the program or the owner is another than when it was accepted.
    pub(super) fn check(&self, facts: Facts, peer: &UnixPeer) -> Result<(), ProcessError> {
        self.check_program(facts.program)?;
        check_owner(facts.owner, peer.uid(), peer.gid())
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
}
