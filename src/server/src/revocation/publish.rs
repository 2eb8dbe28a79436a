//! The one task that signs the lists: after each change, when the keys that sign them
//! change, and from time to time, so that whoever asks for a fresh list finds one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use duty::Duty;
use identity::Timestamp;
use tokio::sync::watch;

use super::Revocations;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::limits;
use crate::server::Server;

/// What relying parties are told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) sequence: u64,
    pub(crate) made_at: Timestamp,
    /// The compact JWS.
    pub(crate) list: String,
    /// One revocation list for each X.509 authority, DER; none of one that could not
    /// sign its first yet.
    pub(crate) crls: Vec<Bytes>,
    /// The JWT key that signed the list.
    key_id: Arc<str>,
}

/// Signs and publishes until the server stops.
pub(crate) async fn publish(server: Arc<Server>) {
    let (revocations, state) = (&server.revocations, &server.state);
    let lists = keep(
        "the list of revocations could not be signed; agents go on by the one they have",
        (&server.duties.revocation_list, &server.clock),
        state.revocations_changed(),
        || revocations.bring_up_to_date(),
    );
    let crls = keep(
        "an X.509 revocation list could not be signed; the one before stands",
        (&server.duties.crls, &server.clock),
        state.revocations_changed(),
        || revocations.renew_far_crls(),
    );
    tokio::select! {
        () = server.stopped() => {}
        () = lists => {}
        () = crls => {}
    }
}

/// Does something at each change and from time to time; after failures less and less
/// often. Ends with the state.
async fn keep<F>(
    problem: &'static str,
    (duty, clock): (&Duty, &Clock),
    mut changed: watch::Receiver<u64>,
    work: impl Fn() -> F,
) where
    F: Future<Output = Result<(), Failure>>,
{
    let mut failures = 0;
    loop {
        let outcome = work().await;
        duty.report(clock.since_boot(), &outcome);
        match outcome {
            Ok(()) => failures = 0,
            Err(failure) => {
                if failures == 0 {
                    tracing::error!(%failure, "{problem}");
                }
                failures += 1;
                // Taking a number is a change, too: it must not call for the next one.
                tokio::time::sleep(limits::REVOCATIONS_RETRY).await;
            }
        }
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause(failures)) => {}
        }
    }
}

/// How long nothing need be done, after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doubled = 1_u32 << failures.min(16);
    let pause = limits::REVOCATIONS_RETRY.saturating_mul(doubled);
    pause.min(limits::REVOCATIONS_LONGEST_RETRY)
}

impl Revocations {
    /// Signs a new list if that is due.
    ///
    /// # Errors
    /// It could not be signed, or its number could not be taken; or it is signed, and
    /// an X.509 authority's list could not be.
    pub(crate) async fn bring_up_to_date(&self) -> Result<(), Failure> {
        let state = &self.0.state;
        let crls = self.renew_crls(self.next_number()).await;
        let jwt = self.0.authorities.jwt();
        let jwt = jwt.ok_or_else(|| Failure::unavailable("there is no JWT key that may sign"))?;
        let reached = state.registry().revocation_sequence();
        let now = self.0.clock.now();
        let is_good = self.signed().is_some_and(|one| {
            one.sequence == reached
                && is_young(&one, now)
                && one.key_id == *jwt.key_id()
                && one.crls == self.crls()
        });
        if is_good {
            return crls;
        }
        if reached <= self.0.spent.load(Ordering::Acquire) {
            // No two lists share a number, even where they say the same.
            let _one_at_a_time = self.0.writes.lock().await;
            state
                .change_revocations(&Caller::Server, Vec::new(), Vec::new())
                .await?;
        }
        let (list, with) = (state.revocation_list(now), self.crls());
        let (sequence, key_id) = (list.sequence, Arc::clone(jwt.key_id()));
        let signed = self.0.far.sign(move || jwt.sign_revocations(&list)).await?;
        tracing::debug!(sequence, "revocations are signed");
        self.0.spent.store(sequence, Ordering::Release);
        self.0.signed.send_replace(Some(Arc::new(Signed {
            sequence,
            made_at: now,
            list: signed,
            crls: with,
            key_id,
        })));
        state.mark_revocations();
        crls
    }

    /// The number of the next list that is published, as things stand.
    pub(super) fn next_number(&self) -> u64 {
        let reached = self.0.state.registry().revocation_sequence();
        let spent = self.0.spent.load(Ordering::Acquire);
        reached.max(spent.saturating_add(1))
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

#[cfg(test)]
mod pauses {
    use super::*;

    #[test]
    fn the_pause_grows_with_failures_and_is_bounded() {
        let pauses: Vec<Duration> = (0..40).map(pause).collect();
        assert_eq!(pauses[0], limits::REVOCATIONS_RETRY);
        assert!(pauses.is_sorted() && pauses[2] > pauses[1]);
        assert_eq!(pauses[39], limits::REVOCATIONS_LONGEST_RETRY);
    }
}
