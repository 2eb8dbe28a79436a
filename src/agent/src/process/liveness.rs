//! Being told when a process that was attested ends, though its connection may
//! live on in other hands.

use std::sync::Arc;
use std::time::Duration;

use contract::ProcessError;

use super::Caller;

/// Watches over one attested process for as long as a stream to it is open.
#[derive(Debug)]
pub struct Liveness(Arc<Caller>);

impl Liveness {
    pub(super) fn new(caller: &Arc<Caller>) -> Self {
        Self(Arc::clone(caller))
    }

    /// Completes when the process has ended, even if a child of it still holds
    /// the connection. A stream must then end.
    pub async fn ended(&self) {
        self.0.ended().await;
    }

    /// [`Caller::recheck`]: ask before each push.
    ///
    /// # Errors
    /// What has changed; the stream must end without the push.
    pub fn recheck(&self) -> Result<(), ProcessError> {
        self.0.recheck()
    }

    /// [`Caller::recheck_since`]: ask before a push that became due at `due`, as it
    /// did for others of the same process.
    ///
    /// # Errors
    /// What has changed; the stream must end without the push.
    pub fn recheck_since(&self, due: Duration) -> Result<(), ProcessError> {
        self.0.recheck_since(due)
    }
}
