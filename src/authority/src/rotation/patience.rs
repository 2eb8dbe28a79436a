//! How long a successor waits for others: verifiers that fetch at intervals, and
//! agents that owe an acknowledgement. Nobody may hold a rotation up for ever, and the
//! replacement of a leaked key waits for nobody longer than a few seconds.

use identity::{Seconds, Timestamp};

use super::{Key, Phase, Policy, State};

/// How long the successor of a tainted key waits after its publication, for anybody: the
/// publication interval and missing acknowledgements alike. Two seconds below the ten
/// that are promised, for a shell that looks once a second.
pub const TAINT_PATIENCE: Seconds = Seconds(8);

impl Policy {
    /// How long the successor of `active` must have been published before it signs.
    pub(super) fn interval_after(&self, active: &Key) -> Seconds {
        if active.tainted {
            self.publication_interval.min(TAINT_PATIENCE)
        } else {
            self.publication_interval
        }
    }
}

/// Whether a published key may sign although verifiers that count have not acknowledged
/// it. `public_until` is the time by which it is judged how long the key has been public;
/// it is `now` unless the wall clock was set ahead.
///
/// That is so once the policy's patience is over, and, whatever the policy says, when
/// the active key nears its end: no signature at all would hurt every verifier.
#[must_use]
pub fn is_out_of_patience(
    state: &State,
    key: &Key,
    public_until: Timestamp,
    now: Timestamp,
    policy: &Policy,
) -> bool {
    let Phase::Published { at, .. } = key.phase else {
        return false;
    };
    let Some(active) = state.active() else {
        return true;
    };
    let patience = if active.tainted {
        TAINT_PATIENCE
    } else {
        Seconds(
            policy
                .publication_interval
                .0
                .saturating_add(policy.patience.0),
        )
    };
    // Below an upstream the time to activate may be any time; patience is not.
    let near = policy.activate_before.min(policy.prepare_before);
    public_until >= at.plus(patience) || now >= active.not_after.minus(Seconds(near.0 / 2))
}
