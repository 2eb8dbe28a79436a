//! Whom a delegate asks for.

use std::sync::Arc;

use api::types;
use contract::{ProcessError, Strength};
use tonic::Status;
use workload::Caller;

use crate::hub::Subscription;
use crate::process::Attested;
use crate::workload_api::{Connection, Followed, process_changed};

/// A workload, by its selectors.
pub(super) struct Target {
    pub(super) who: Caller,
    /// The process, when it was named by number: its end ends what is done for it.
    process: Option<(Connection, Attested)>,
}

/// A workload that is followed for as long as the delegate's stream is open.
pub(super) enum FollowedTarget {
    /// By selectors.
    Named(Subscription),
    /// By process: it is attested again when an attestor returns that was away.
    Attested(Followed),
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
                    process: None,
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
        let process = Connection {
            api: Arc::clone(api),
            caller: process,
        };
        let attested = process.attest().await?;
        Ok(Self {
            who: attested.caller(),
            process: Some((process, attested)),
        })
    }

    /// Ask before each push.
    ///
    /// # Errors
    /// The process is no longer what was attested.
    pub(super) fn recheck(&self) -> Result<(), Status> {
        let process = self.process.as_ref();
        let unchanged = process.map_or(Ok(()), |(process, _)| process.caller.recheck());
        unchanged.map_err(|error| process_changed(&error))
    }

    /// Follows it from now on.
    ///
    /// # Errors
    /// There are too many callers, or the process has ended.
    pub(super) fn follow(&self, delegate: &Connection) -> Result<FollowedTarget, Status> {
        match &self.process {
            Some((process, attested)) => {
                Followed::new(process, attested).map(FollowedTarget::Attested)
            }
            None => {
                let subscribed = delegate.subscribe(&self.who)?;
                Ok(FollowedTarget::Named(subscribed))
            }
        }
    }
}

impl FollowedTarget {
    pub(super) fn subscription(&mut self) -> &mut Subscription {
        match self {
            Self::Named(subscription) => subscription,
            Self::Attested(followed) => &mut followed.subscription,
        }
    }

    /// Waits until what it is to be given may have changed.
    ///
    /// # Errors
    /// The process has ended, or is no longer what it was.
    pub(super) async fn changed(&mut self) -> Result<(), Status> {
        match self {
            Self::Named(subscription) => {
                subscription.changed().await;
                Ok(())
            }
            Self::Attested(followed) => followed.changed().await,
        }
    }

    /// Ask before each push.
    ///
    /// # Errors
    /// The process is no longer what was attested.
    pub(super) fn recheck(&self) -> Result<(), Status> {
        match self {
            Self::Named(_) => Ok(()),
            Self::Attested(followed) => {
                let unchanged = followed.liveness.recheck();
                unchanged.map_err(|error| process_changed(&error))
            }
        }
    }
}
