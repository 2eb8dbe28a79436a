//! Whether a process that was attested is still what it was: asked before each
//! push to its stream, and told when it ends.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use channel::uds::UnixPeer;
use contract::ProcessError;
use tokio::io::unix::AsyncFd;

use super::program::Program;
use super::snapshot::check_owner;
use super::witness::Seen;
use super::{ProcessHost, anchor};

/// Watches over one attested process for as long as a stream to it is open.
#[derive(Debug)]
pub struct Liveness {
    host: Arc<ProcessHost>,
    peer: Arc<UnixPeer>,
    death: Arc<AsyncFd<OwnedFd>>,
    program: Option<Program>,
}

impl Liveness {
    pub(super) fn new(
        host: &Arc<ProcessHost>,
        peer: &Arc<UnixPeer>,
        seen: &Seen,
    ) -> Result<Self, ProcessError> {
        Ok(Self {
            host: Arc::clone(host),
            peer: Arc::clone(peer),
            death: seen.death(peer)?,
            program: seen.program,
        })
    }

    /// Completes when the process has ended, even if a child of it still holds
    /// the connection. A stream must then end.
    pub async fn ended(&self) {
        // An error means that the event loop is gone: an end as well.
        let _readable_or_gone = self.death.readable().await;
    }

    /// Fails when the process has ended, runs another program than when it
    /// connected, or has changed its user. Costs a few microseconds: ask before
    /// each push.
    ///
    /// # Errors
    /// What has changed; the stream must end without the push.
    pub fn recheck(&self) -> Result<(), ProcessError> {
        let pidfd = self.death.get_ref().as_fd();
        let folder = self
            .host
            .proc
            .folder(u32::try_from(self.peer.pid()).unwrap_or(0))
            .map_err(|error| anchor::is_alive(pidfd).err().unwrap_or(error))?;
        let at = folder.as_fd();
        if let Some(program) = self.program {
            let now =
                Program::of(at).map_err(|error| anchor::is_alive(pidfd).err().unwrap_or(error))?;
            if !now.is(&program) {
                return Err(ProcessError::Changed(
                    "it runs another program than when it connected",
                ));
            }
        }
        let owner = check_owner(at, self.peer.uid(), self.peer.gid());
        // Last, so that all of the above was about the process that connected.
        anchor::is_alive(pidfd)?;
        owner
    }
}
