//! Who may act for others.

use std::sync::Arc;

use identity::SpiffeId;
use tonic::Status;
use workload::Caller;

use crate::hub::{Subscription, no_identity};
use crate::process::Liveness;
use crate::workload_api::{Connection, WorkloadApi, process_changed};

/// A caller that was attested and is a delegate by configuration.
pub(super) struct Delegate {
    pub(super) connection: Connection,
    who: Caller,
    /// Its own view: what it loses there, it loses here.
    own: Subscription,
    life: Liveness,
}

impl Delegate {
    /// Attests the caller. Nothing of its request counts before this.
    ///
    /// # Errors
    /// It cannot be attested, has no identity, or none that is a delegate's.
    pub(super) async fn of(connection: &Connection, method: &str) -> Result<Self, Status> {
        let attested = connection.attest().await?;
        let id = standing(&connection.api, &attested.caller())?;
        let life = connection.caller.watch();
        let pid = connection.caller.peer().pid();
        tracing::info!(delegate = %id, pid, method, "a delegate calls");
        Ok(Self {
            connection: connection.clone(),
            own: connection.subscribe(&attested.caller())?,
            who: attested.caller(),
            life: life.map_err(|error| process_changed(&error))?,
        })
    }

    pub(super) fn api(&self) -> &Arc<WorkloadApi> {
        &self.connection.api
    }

    /// Completes when [`Self::recheck`] should be asked again.
    ///
    /// # Errors
    /// The process has ended.
    pub(super) async fn changed(&mut self) -> Result<(), Status> {
        tokio::select! {
            () = self.own.changed() => Ok(()),
            () = self.life.ended() => Err(Status::unavailable("the delegate has ended")),
        }
    }

    /// Ask before each push: it is the process it was, and still a delegate.
    ///
    /// # Errors
    /// It is not; the stream must end without the push.
    pub(super) fn recheck(&self) -> Result<(), Status> {
        self.life
            .recheck()
            .map_err(|error| process_changed(&error))?;
        standing(self.api(), &self.who).map(drop)
    }
}

/// The identity by which a caller is a delegate. None is by default.
fn standing(api: &WorkloadApi, who: &Caller) -> Result<SpiffeId, Status> {
    let entries = api.core.hub.matching(who)?;
    if entries.is_empty() {
        return Err(no_identity());
    }
    let delegates = &api.core.settings.delegates;
    let mut own = entries.iter().map(|entry| &entry.spiffe_id);
    let found = own.find(|id| delegates.contains(id));
    found
        .cloned()
        .ok_or_else(|| Status::permission_denied("caller not configured as an authorized delegate"))
}
