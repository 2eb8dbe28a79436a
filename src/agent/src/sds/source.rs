//! Where a stream's secrets come from, and what ends it: the caller's view, the
//! life of the process that was attested, and the agent's own stop.

use std::sync::Arc;

use channel::Draining;
use tonic::{Code, Status};

use super::Config;
use super::secrets::Secrets;
use crate::workload_api::{Admitted, Connection, Followed, drained, process_changed};

/// An attested caller's eye on its secrets.
pub(super) struct Source {
    connection: Connection,
    followed: Followed,
    draining: Option<Draining>,
    /// Counts as open until the stream ends.
    _admitted: Admitted,
}

impl Source {
    /// Attests the caller and subscribes it to its view.
    pub(super) async fn open(
        connection: &Connection,
        admitted: Admitted,
        draining: Option<Draining>,
    ) -> Result<Self, Status> {
        let attested = connection.attest().await?;
        let followed = Followed::new(connection, &attested)?;
        Ok(Self {
            connection: connection.clone(),
            followed,
            draining,
            _admitted: admitted,
        })
    }

    pub(super) fn config(&self) -> &Config {
        &self.connection.api.core.settings.config.sds
    }

    /// The caller's secrets now; `None` while its SVIDs are on their way.
    pub(super) fn secrets(&mut self) -> Result<Option<Arc<Secrets>>, Status> {
        let core = &self.connection.api.core;
        let open_to_all = core
            .settings
            .config
            .workload_api
            .allow_unauthenticated_verifiers;
        match self.followed.subscription.x509() {
            Ok(Some(view)) => Ok(Some(self.connection.api.secrets.secrets(&view))),
            Ok(None) => Ok(None),
            Err(status) if status.code() == Code::PermissionDenied && open_to_all => {
                let own = core.hub.own_bundle();
                Ok(own.map(|own| Arc::new(Secrets::own_bundle(&own))))
            }
            Err(status) => Err(status),
        }
    }

    /// What a caller is told whose SVIDs do not come in time.
    pub(super) fn late(&self) -> Status {
        self.followed.subscription.late()
    }

    /// The caller is sent what it does not have, or has everything there is.
    ///
    /// # Errors
    /// The process is no longer what was attested.
    pub(super) fn deliver(&mut self) -> Result<(), Status> {
        self.followed
            .liveness
            .recheck()
            .map_err(|error| process_changed(&error))?;
        self.followed.subscription.holds_latest();
        Ok(())
    }

    /// Waits until the secrets may have changed.
    ///
    /// # Errors
    /// The stream must end.
    pub(super) async fn changed(&mut self) -> Result<(), Status> {
        tokio::select! {
            changed = self.followed.changed() => changed,
            () = drained(&mut self.draining) => {
                Err(Status::unavailable("the agent is stopping; connect again"))
            }
        }
    }

    /// Counts one more message of the caller against its share.
    pub(super) fn charge(&self) -> Result<(), Status> {
        let api = &self.connection.api;
        let uid = self.connection.caller.peer().uid();
        let charged = api.admission.admit(uid, api.core.clock.boottime());
        charged.map(drop)
    }

    /// A word that tells this response from others.
    pub(super) fn nonce(&self) -> String {
        format!("{:08x}", self.connection.api.core.entropy.number())
    }
}
