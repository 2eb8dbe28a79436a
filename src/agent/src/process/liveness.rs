//! Being told when a process that was attested ends, though its connection may
//! live on in other hands.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use contract::ProcessError;
use tokio::io::unix::AsyncFd;

use super::Caller;

/// Watches over one attested process for as long as a stream to it is open.
#[derive(Debug)]
pub struct Liveness {
    caller: Arc<Caller>,
    death: Arc<AsyncFd<OwnedFd>>,
}

impl Liveness {
    pub(super) fn new(caller: &Arc<Caller>, death: Arc<AsyncFd<OwnedFd>>) -> Self {
        Self {
            caller: Arc::clone(caller),
            death,
        }
    }

    /// Completes when the process has ended, even if a child of it still holds
    /// the connection. A stream must then end.
    pub async fn ended(&self) {
        // An error means that the event loop is gone: an end as well.
        let _readable_or_gone = self.death.readable().await;
    }

    /// [`Caller::recheck`]: ask before each push.
    ///
    /// # Errors
    /// What has changed; the stream must end without the push.
    pub fn recheck(&self) -> Result<(), ProcessError> {
        self.caller.recheck()
    }
}
