//! The transitions.

use identity::{Seconds, Timestamp};

use super::{Effect, Event, Key, MAX_KEYS, Phase, Policy, Slot, State};

/// Takes one step. Pure: the same arguments give the same answer, and repeating a
/// report changes nothing more.
#[must_use]
pub fn step(state: &State, event: Event, now: Timestamp, policy: &Policy) -> (State, Vec<Effect>) {
    let mut next = state.clone();
    let mut effects = apply(&mut next, event, now);
    // A refused event changes nothing, and repeats no effects either.
    if effects.is_empty() {
        advance(&mut next, now, policy, &mut effects);
    }
    (next, effects)
}

/// Takes in what the event says. Returns only refusals.
fn apply(state: &mut State, event: Event, now: Timestamp) -> Vec<Effect> {
    let refused = match event {
        Event::Tick => None,
        Event::PrepareNow => {
            state.wanted |= state.successor().is_none();
            None
        }
        Event::Created {
            slot,
            id,
            not_before,
            not_after,
        } => {
            created(state, slot, id, (not_before, not_after));
            None
        }
        Event::Published { slot } => {
            on_key(state, slot, |key| {
                if key.phase == Phase::Prepared {
                    key.phase = Phase::Published {
                        at: now,
                        acknowledged: false,
                    };
                }
            });
            None
        }
        Event::Acknowledged { slot } => {
            on_key(state, slot, |key| {
                if let Phase::Published { acknowledged, .. } = &mut key.phase {
                    *acknowledged = true;
                }
            });
            None
        }
        Event::ActivateNow { slot } => activate_now(state, slot, now),
        Event::Drained { slot, last_expiry } => {
            on_key(state, slot, |key| {
                let end = key.not_after;
                if let Phase::Retired { last_expiry: l, .. } = &mut key.phase {
                    // Nothing outlives its signer, whatever the report says.
                    *l = last_expiry.min(end);
                }
            });
            None
        }
        Event::Taint { slot } => taint(state, slot, now),
        Event::Revoke { slot } => revoke(state, slot, now),
        Event::Removed { slot } => {
            state
                .keys
                .retain(|key| key.slot != slot || !matches!(key.phase, Phase::Retired { .. }));
            None
        }
    };
    refused
        .map(|why| Effect::Refuse { why })
        .into_iter()
        .collect()
}

fn on_key(state: &mut State, slot: Slot, change: impl FnOnce(&mut Key)) {
    if let Some(key) = state.keys.iter_mut().find(|key| key.slot == slot) {
        change(key);
    }
}

/// A slot is filled once: an answer that comes twice, or too late, is dropped.
fn created(
    state: &mut State,
    slot: Slot,
    id: std::sync::Arc<str>,
    (not_before, not_after): (Timestamp, Timestamp),
) {
    let wanted = slot == state.next_slot && state.successor().is_none();
    if !wanted || not_before >= not_after || state.keys.len() >= MAX_KEYS {
        return;
    }
    state.next_slot = slot.saturating_add(1);
    state.wanted = false;
    state.keys.push(Key {
        slot,
        id,
        not_before,
        not_after,
        phase: Phase::Prepared,
        tainted: false,
    });
}

fn activate_now(state: &mut State, slot: Slot, now: Timestamp) -> Option<&'static str> {
    match state.key(slot).map(|key| (key.phase, key.not_after)) {
        Some((Phase::Published { .. }, end)) if end > now => {
            activate(state, slot, now);
            None
        }
        Some((Phase::Published { .. }, _)) => {
            Some("the key has expired; revoke it and prepare a new one")
        }
        Some((Phase::Active { .. }, _)) => None,
        Some((Phase::Prepared, _)) => Some(
            "the key is not published yet, so no one could verify what it signs; wait for its publication",
        ),
        Some((Phase::Retired { .. }, _)) => {
            Some("the key is retired and never signs again; prepare a new one")
        }
        None => Some("no key has that id; list the keys and choose one of them"),
    }
}

/// An active key stays active until its successor is ready, since refusing to sign
/// would take everything down; but one is made at once. A key that never signed is
/// simply given up.
fn taint(state: &mut State, slot: Slot, now: Timestamp) -> Option<&'static str> {
    let Some(key) = state.keys.iter_mut().find(|key| key.slot == slot) else {
        return Some("no key has that id; list the keys and choose one of them");
    };
    key.tainted = true;
    give_up_unused(key, now);
    None
}

fn revoke(state: &mut State, slot: Slot, now: Timestamp) -> Option<&'static str> {
    let Some(key) = state.keys.iter_mut().find(|key| key.slot == slot) else {
        return Some("no key has that id; list the keys and choose one of them");
    };
    match &mut key.phase {
        Phase::Active { .. } => {
            return Some("the key is active; activate its successor first, then revoke it");
        }
        Phase::Retired { revoked, .. } => *revoked = true,
        Phase::Prepared | Phase::Published { .. } => give_up_unused(key, now),
    }
    None
}

/// A key that never signed anything can go at once: nothing depends on it.
fn give_up_unused(key: &mut Key, now: Timestamp) {
    if matches!(key.phase, Phase::Prepared | Phase::Published { .. }) {
        key.phase = Phase::Retired {
            at: now,
            last_expiry: Timestamp(i64::MIN),
            revoked: true,
        };
    }
}

/// Moves on whatever may move, and asks for what is still outstanding.
fn advance(state: &mut State, now: Timestamp, policy: &Policy, effects: &mut Vec<Effect>) {
    // A successor that expired while it waited would block the next one for ever.
    for key in state.keys.iter_mut().filter(|key| now >= key.not_after) {
        give_up_unused(key, now);
    }
    if may_activate(state, now, policy)
        && let Some(slot) = state.successor().map(|key| key.slot)
    {
        activate(state, slot, now);
    }
    if needs_successor(state, now, policy) {
        effects.push(Effect::Create {
            slot: state.next_slot,
        });
    }
    // First the new signer: what is replaced for a taint must be signed by it.
    effects.extend(
        state
            .active()
            .map(|key| Effect::Activate { slot: key.slot }),
    );
    for key in &state.keys {
        let slot = key.slot;
        if key.tainted && matches!(key.phase, Phase::Retired { .. }) {
            effects.push(Effect::Taint { slot });
        }
        match key.phase {
            Phase::Prepared => effects.push(Effect::Publish { slot }),
            Phase::Published { acknowledged, .. } => {
                if !acknowledged {
                    effects.push(Effect::AwaitAcknowledgement { slot });
                }
            }
            Phase::Active { .. } => {}
            Phase::Retired {
                last_expiry,
                revoked,
                ..
            } => {
                effects.push(Effect::Retire { slot });
                if revoked || now > last_expiry.plus(policy.removal_skew) {
                    effects.push(Effect::Remove { slot });
                }
            }
        }
    }
}

/// Whether a new key is to be made: there is none to follow, and the active one is
/// missing, nearing its end, tainted, or someone asked.
fn needs_successor(state: &State, now: Timestamp, policy: &Policy) -> bool {
    if state.successor().is_some() || state.keys.len() >= MAX_KEYS {
        return false;
    }
    match state.active() {
        None => true,
        Some(active) => {
            state.wanted || active.tainted || within(active, now, policy.prepare_before)
        }
    }
}

/// Whether the successor may sign. Without a usable predecessor only publication
/// and acknowledgement count: waiting longer would protect nobody.
fn may_activate(state: &State, now: Timestamp, policy: &Policy) -> bool {
    let Some(successor) = state.successor() else {
        return false;
    };
    let Phase::Published {
        at,
        acknowledged: true,
    } = successor.phase
    else {
        return false;
    };
    if now < successor.not_before {
        return false;
    }
    match state.active() {
        Some(active) if now < active.not_after => {
            let long_enough = now >= at.plus(policy.interval_after(active));
            let time_has_come = active.tainted || within(active, now, policy.activate_before);
            long_enough && time_has_come
        }
        _ => true,
    }
}

/// Whether the key has at most that much of its life left.
pub(super) fn within(key: &Key, now: Timestamp, before: Seconds) -> bool {
    now >= key.not_after.minus(before)
}

/// One key becomes active and the one before it retires, in the same committed state.
fn activate(state: &mut State, slot: Slot, now: Timestamp) {
    for key in &mut state.keys {
        if key.slot == slot {
            key.phase = Phase::Active { at: now };
        } else if matches!(key.phase, Phase::Active { .. }) {
            key.phase = Phase::Retired {
                at: now,
                last_expiry: key.not_after,
                revoked: false,
            };
        }
    }
    state.wanted = false;
}
