//! A process that an admin names by its number, looked at by the same code as one
//! that connects: what `explain` shows is what a call would be attested as.

use std::os::fd::AsFd;
use std::sync::Arc;

use channel::uds::UnixPeer;
use contract::{ProcessError, Strength};

use super::proc_fs::attributes;
use super::{Caller, ProcessHost, anchor};

impl ProcessHost {
    /// The process with this number at this moment. `strength` is how surely the
    /// kernel ties a process to a connection here: the asker's own connection
    /// shows it.
    ///
    /// A number is all that an admin has; whoever reads the answer compares it with
    /// the process that was meant. No identity is given out on it.
    ///
    /// # Errors
    /// There is no such process, or it cannot be looked at.
    pub fn numbered(
        self: &Arc<Self>,
        pid: u32,
        strength: Strength,
    ) -> Result<Arc<Caller>, ProcessError> {
        let number = i32::try_from(pid).map_err(|_too_large| ProcessError::Gone)?;
        let pidfd = anchor::open_by_number(number)?;
        let gone_or = |error| anchor::is_alive(pidfd.as_fd()).err().unwrap_or(error);
        let folder = self.proc.folder(pid).map_err(gone_or)?;
        let owner = attributes(folder.as_fd(), "", "the user").map_err(gone_or)?;
        // Not ended yet, so the folder is that of the process behind the handle.
        anchor::is_alive(pidfd.as_fd())?;
        let pidfd = match strength {
            Strength::Strong => Some(pidfd),
            Strength::Weak => None,
        };
        let peer = UnixPeer::named(owner.stx_uid, owner.stx_gid, number, pidfd);
        Ok(self.caller(&Arc::new(peer)))
    }
}
