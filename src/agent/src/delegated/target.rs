//! Whom a delegate asks for.

use api::types;
use contract::{ProcessError, Strength};
use tonic::Status;
use workload::Caller;

use crate::process::Liveness;
use crate::workload_api::{Connection, not_attested, process_changed};

/// A workload, by its selectors.
pub(super) struct Target {
    pub(super) who: Caller,
    /// The process, when it was named by number: its end ends what is done for it.
    pub(super) life: Option<Liveness>,
}

impl Target {
    /// Takes selectors at the delegate's word, or attests the process of that number.
    ///
    /// That the number is still the workload's when the agent opens it, only the
    /// delegate can know; from then on the kernel's handle holds the process.
    ///
    /// # Errors
    /// Not exactly one of the two is given, selectors are refused by configuration,
    /// or the process cannot be attested.
    pub(super) async fn find(
        connection: &Connection,
        selectors: &[types::Selector],
        pid: i32,
    ) -> Result<Self, Status> {
        match (selectors, pid) {
            ([], 0) | ([_, ..], i32::MIN..=-1 | 1..) => Err(Status::invalid_argument(
                "must provide either selectors or non-zero PID, but not both",
            )),
            ([], pid) => Self::process(connection, pid).await,
            (selectors, 0) => {
                let config = &connection.api.core.settings.config.delegated_identity;
                if config.attested_only {
                    return Err(Status::permission_denied(
                        "delegated_identity.attested_only lets workloads be named by PID alone",
                    ));
                }
                let selectors = api::convert::selectors_from_wire("selectors", selectors)
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
                Ok(Self {
                    who: Caller::from(&selectors),
                    life: None,
                })
            }
        }
    }

    async fn process(connection: &Connection, pid: i32) -> Result<Self, Status> {
        let absent = || Status::not_found(format!("there is no process {pid}"));
        let number = u32::try_from(pid).map_err(|_negative| absent())?;
        let asker = connection.caller.peer();
        let strength = match asker.pidfd() {
            Some(_) => Strength::Strong,
            None => Strength::Weak,
        };
        let api = &connection.api;
        let found = api.host.numbered(number, strength);
        let process = found.map_err(|error| match error {
            ProcessError::Gone => absent(),
            error => process_changed(&error),
        })?;
        let attested = process.attest(&api.attestors).await;
        let attested = attested.map_err(|error| not_attested(&error))?;
        let life = process.watch().map_err(|error| process_changed(&error))?;
        Ok(Self {
            who: attested.caller(),
            life: Some(life),
        })
    }

    /// Ask before each push.
    ///
    /// # Errors
    /// The process is no longer what was attested.
    pub(super) fn recheck(&self) -> Result<(), Status> {
        let life = self.life.as_ref();
        let unchanged = life.map_or(Ok(()), Liveness::recheck);
        unchanged.map_err(|error| process_changed(&error))
    }

    /// Completes when the process has ended.
    pub(super) async fn ended(&self) {
        match &self.life {
            Some(life) => life.ended().await,
            None => std::future::pending().await,
        }
    }
}
