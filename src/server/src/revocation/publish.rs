//! The one task that signs the list: after each change, when the keys that sign it
//! change, and from time to time, so that whoever asks for a fresh list finds one.

use std::sync::Arc;
use std::time::Duration;

use identity::Timestamp;

use super::{Revocations, Signed};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;
use crate::server::Server;

/// Signs and publishes until the server stops.
pub(crate) async fn publish(server: Arc<Server>) {
    let revocations = server.revocations.clone();
    let patience = server.settings.signing_timeout;
    let stopped = server.stopped();
    tokio::pin!(stopped);
    let mut changed = server.state.revocations_changed();
    let mut is_failing = false;
    loop {
        match revocations.bring_up_to_date(patience).await {
            Ok(()) => is_failing = false,
            Err(failure) => {
                if !is_failing {
                    tracing::error!(%failure, "the list of revocations could not be signed; agents go on by the one they have");
                }
                is_failing = true;
            }
        }
        tokio::select! {
            () = &mut stopped => return,
            changed = changed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(limits::REVOCATIONS_RETRY) => {}
        }
    }
}

impl Revocations {
    /// Signs a new list if that is due.
    ///
    /// # Errors
    /// It could not be signed, or its number could not be taken.
    pub(crate) async fn bring_up_to_date(&self, patience: Duration) -> Result<(), Failure> {
        let state = &self.0.state;
        let signers = self.signers().await?;
        let signed = self.signed();
        let now = self.0.clock.now();
        let reached = state.registry().revocation_sequence();
        let is_good =
            |one: &Signed| one.sequence == reached && is_young(one, now) && signers.are_of(one);
        if signed.as_deref().is_some_and(is_good) {
            return Ok(());
        }
        let is_spent = signed.as_ref().is_none_or(|one| one.sequence >= reached);
        if is_spent {
            // No two lists share a number, even where they say the same.
            let _one_at_a_time = self.0.writes.lock().await;
            state
                .change_revocations(&Caller::Server, Vec::new(), Vec::new())
                .await?;
        }
        let made = self.sign(signers, signed, patience).await?;
        tracing::debug!(sequence = made.sequence, "revocations are signed");
        self.0.signed.send_replace(Some(Arc::new(made)));
        state.mark_revocations();
        Ok(())
    }

    /// Waits until the list of this sequence is signed; whether it was in time.
    pub(crate) async fn is_signed(&self, sequence: u64) -> bool {
        let mut signed = self.0.signed.subscribe();
        let reached =
            signed.wait_for(|one| one.as_ref().is_some_and(|one| one.sequence >= sequence));
        let reached = tokio::time::timeout(limits::REVOKE_WAIT, reached).await;
        matches!(reached, Ok(Ok(_)))
    }
}

fn is_young(signed: &Signed, now: Timestamp) -> bool {
    // A clock that was set back makes a list look as if it came from the future.
    now >= signed.made_at && now.since(signed.made_at) < limits::REVOCATIONS_REFRESH
}
