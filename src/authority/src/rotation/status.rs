//! What a key is waiting for, in words that status output can use.

use identity::Timestamp;

use super::step::within;
use super::{Key, Phase, Policy, State};

/// Something that must happen before a key moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A bundle with its public half must be committed.
    Publication,
    /// Verifiers must take the bundle in.
    Acknowledgement,
    /// It must have been published until then.
    PublicationInterval(Timestamp),
    /// The active key is still good until then.
    Schedule(Timestamp),
    /// The last thing it signed must have expired by then.
    LastExpiry(Timestamp),
}

/// What a key waits for; empty when it is active or about to move.
#[must_use]
pub fn waiting_for(state: &State, key: &Key, now: Timestamp, policy: &Policy) -> Vec<Waiting> {
    match key.phase {
        Phase::Prepared => vec![Waiting::Publication],
        Phase::Active { .. } => Vec::new(),
        Phase::Published { at, acknowledged } => {
            let mut waits = Vec::new();
            if !acknowledged {
                waits.push(Waiting::Acknowledgement);
            }
            let active = state.active().filter(|active| now < active.not_after);
            let Some(active) = active else { return waits };
            let interval = at.plus(policy.interval_after(active));
            if now < interval {
                waits.push(Waiting::PublicationInterval(interval));
            }
            if !active.tainted && !within(active, now, policy.activate_before) {
                let begin = active.not_after.minus(policy.activate_before);
                waits.push(Waiting::Schedule(begin));
            }
            waits
        }
        Phase::Retired {
            last_expiry,
            revoked,
            ..
        } => {
            let end = last_expiry.plus(policy.removal_skew);
            if revoked || now > end {
                Vec::new()
            } else {
                vec![Waiting::LastExpiry(end)]
            }
        }
    }
}
