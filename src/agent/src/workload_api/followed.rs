//! What a long stream hangs on: the caller's view, the life of the process that was
//! attested, and, where an attestor did not answer at first, its return.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;
use workload::Caller;

use super::connection::{Connection, process_changed};
use crate::hub::Subscription;
use crate::limits;
use crate::process::{Attested, Liveness};

/// The attestors that did not answer.
type Missing = Vec<&'static str>;

/// Tells streams that were opened while an attestor was away to look again.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    changes: watch::Sender<u64>,
    /// When the next of those who miss the same tries, of the boot clock: one for all
    /// of them. At most one for each set of attestors.
    next_try: Mutex<HashMap<Missing, Duration>>,
}

impl Returns {
    fn announce(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn takes_turn(&self, missing: &Missing, now: Duration) -> bool {
        let mut all = self.next_try.lock().unwrap_or_else(PoisonError::into_inner);
        let next = all.entry(missing.clone()).or_default();
        let is_due = now >= *next;
        if is_due {
            *next = now + limits::ATTESTOR_RETRY;
        }
        is_due
    }
}

/// A caller that is followed for as long as its stream is open.
pub(crate) struct Followed {
    connection: Connection,
    pub(crate) subscription: Subscription,
    pub(crate) liveness: Liveness,
    who: Caller,
    missing: Missing,
    /// Set while something may be missing of what the caller is.
    returns: Option<watch::Receiver<u64>>,
}

impl Followed {
    /// Follows a caller that was just attested.
    ///
    /// # Errors
    /// There are too many callers, or the process has ended.
    pub(crate) fn new(connection: &Connection, attested: &Attested) -> Result<Self, Status> {
        let who = attested.caller();
        let returns = connection.api.returns.changes.subscribe();
        Ok(Self {
            subscription: connection
                .subscribe(&who)?
                .read_by(connection.caller.peer()),
            liveness: connection
                .caller
                .watch()
                .map_err(|error| process_changed(&error))?,
            connection: connection.clone(),
            returns: attested.is_partial().then_some(returns),
            missing: attested.missing(),
            who,
        })
    }

    /// Waits until what the caller is to be given may have changed.
    ///
    /// # Errors
    /// The process has ended, or is no longer what it was.
    pub(crate) async fn changed(&mut self) -> Result<(), Status> {
        loop {
            tokio::select! {
                () = self.subscription.changed() => return Ok(()),
                () = self.liveness.ended() => {
                    return Err(Status::unavailable("the process that was attested has ended"));
                }
                () = returned(self.returns.as_mut()) => {}
                () = tokio::time::sleep(limits::ATTESTOR_RETRY), if self.returns.is_some() => {
                    let api = &self.connection.api;
                    if !api.returns.takes_turn(&self.missing, api.core.clock.boottime()) {
                        continue;
                    }
                }
            }
            if self.look_again().await? {
                return Ok(());
            }
        }
    }

    /// Attests the process anew; says whether it is another caller now.
    async fn look_again(&mut self) -> Result<bool, Status> {
        let api = Arc::clone(&self.connection.api);
        let attested = match self.connection.attest().await {
            Ok(attested) => attested,
            Err(status) => {
                // Of the process itself, that ends the stream; an attestor may recover.
                self.liveness
                    .recheck()
                    .map_err(|error| process_changed(&error))?;
                tracing::debug!(reason = status.message(), "an attestor is still away");
                return Ok(false);
            }
        };
        let who = attested.caller();
        self.missing = attested.missing();
        if self.missing.is_empty() {
            self.returns = None;
        }
        if who == self.who {
            return Ok(false);
        }
        // Others wait for the same attestor.
        api.returns.announce();
        let subscription = self.connection.subscribe(&who)?;
        let subscription = subscription.read_by(self.connection.caller.peer());
        self.subscription.continue_as(subscription);
        self.who = who;
        Ok(true)
    }
}

async fn returned(returns: Option<&mut watch::Receiver<u64>>) {
    match returns {
        Some(returns) => {
            // The sender lives as long as the socket is served.
            let _gone = returns.changed().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_attestor_that_stays_away_takes_nobody_elses_turn() {
        let returns = Returns::default();
        let (for_ever, a_while) = (vec!["docker"], vec!["docker", "systemd"]);
        let at = |seconds: u64| Duration::from_secs(1_000 + seconds);
        let retry = limits::ATTESTOR_RETRY.as_secs();
        assert!(returns.takes_turn(&for_ever, at(0)));
        assert!(!returns.takes_turn(&for_ever, at(retry - 1)));
        assert!(returns.takes_turn(&a_while, at(1)));
        assert!(returns.takes_turn(&for_ever, at(retry)));
        assert!(returns.takes_turn(&a_while, at(retry + 1)));
    }
}
