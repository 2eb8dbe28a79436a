//! What is safe to do with a key by hand, and what would happen: judged from the
//! rotation's state and from what the shell knows of those who depend on the key.

use std::fmt;

use identity::{Seconds, Timestamp};

use super::status::{Waiting, waiting_for};
use super::{Effect, Event, Key, Phase, Policy, State, step};

/// Who still depends on a key, as far as the shell knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dependents {
    /// Credentials that it signed and that have not expired.
    pub unexpired: u64,
    /// When the last thing it ever signed expires.
    pub last_expiry: Option<Timestamp>,
    /// Of the unexpired, those that no agent replaces: what an administrator minted, and
    /// authorities of downstream servers.
    pub minted: u64,
    /// Whether all that it signed has been counted. Until then numbers may be low.
    pub counted: bool,
    /// Live agents that have not taken in the newest bundle.
    pub behind: usize,
    /// Agents that may still hold what a tainted key signed.
    pub holding: usize,
}

/// What has expired by our clock may be valid for so long by another that is right: the
/// furthest jump ahead that a server does not question.
const CLOCKS_DIFFER: Seconds = Seconds(300);

/// Why something is not safe now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It signs.
    Signs,
    /// An upstream certified it, so that no bundle could show its taint.
    BelowUpstream,
    /// No bundle with it is committed.
    NotPublished,
    /// So many live agents have not taken in the newest bundle.
    Behind(usize),
    /// It must have been published until then.
    Interval(Timestamp),
    /// So many credentials that it signed are valid, the last until then.
    Unexpired(u64, Timestamp),
    /// The last that it signed has just expired, and may be valid by another clock until
    /// then.
    JustExpired(Timestamp),
    /// So many credentials that no agent replaces are valid, the last at most until then.
    Minted(u64, Timestamp),
    /// So many agents may hold what it signed, valid at most until then.
    Held(usize, Timestamp),
    /// What it signed is still being counted.
    NotCounted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signs => f.write_str("it signs; activate its successor first"),
            Self::BelowUpstream => f.write_str(
                "it is below an upstream authority, whose root would have to be tainted",
            ),
            Self::NotPublished => f.write_str("no bundle holds it yet"),
            Self::Behind(agents) => {
                write!(f, "{agents} agents have not taken in the newest bundle")
            }
            Self::Interval(until) => {
                write!(f, "it must have been published until {until}")
            }
            Self::JustExpired(until) => write!(
                f,
                "what it signed has just expired, and may be valid by another's clock until {until}"
            ),
            Self::Unexpired(count, until) => write!(
                f,
                "{count} credentials that it signed are valid, the last until {until}"
            ),
            Self::Minted(count, until) => write!(
                f,
                "{count} credentials that were minted by hand or are authorities of downstream servers \
                 are valid, until {until} at the latest"
            ),
            Self::Held(agents, until) => write!(
                f,
                "{agents} agents may hold what it signed, valid until {until} at the latest"
            ),
            Self::NotCounted => {
                f.write_str("what it signed before the last start is still being counted")
            }
        }
    }
}

/// Why a key may not sign yet; empty when it may.
#[must_use]
pub fn against_activating(
    state: &State,
    key: &Key,
    now: Timestamp,
    policy: &Policy,
    known: &Dependents,
) -> Vec<Reason> {
    let waits = waiting_for(state, key, now, policy);
    let reasons = waits.iter().filter_map(|wait| match wait {
        Waiting::Publication => Some(Reason::NotPublished),
        Waiting::Acknowledgement => Some(Reason::Behind(known.behind.max(1))),
        Waiting::PublicationInterval(until) => Some(Reason::Interval(*until)),
        // An administrator may be early.
        Waiting::Schedule(_) | Waiting::LastExpiry(_) => None,
    });
    reasons.collect()
}

/// Why tainting a key now would not reach everybody; empty when it would.
///
/// Nothing speaks against tainting the key that signs: its successor is made at once, and
/// the taint takes effect when that one signs.
#[must_use]
pub fn against_tainting(key: &Key, known: &Dependents) -> Vec<Reason> {
    match key.phase {
        Phase::Retired { .. } if known.behind > 0 => vec![Reason::Behind(known.behind)],
        Phase::Prepared
        | Phase::Published { .. }
        | Phase::Active { .. }
        | Phase::Retired { .. } => Vec::new(),
    }
}

/// Why revoking a key now would break somebody; empty when it would not.
///
/// What a key signed counts until it has expired. Of a tainted key it counts only
/// where nobody has replaced it: at agents that have not said so, and in the hands
/// of those for whom an administrator minted it.
#[must_use]
pub fn against_revoking(key: &Key, now: Timestamp, known: &Dependents) -> Vec<Reason> {
    let Phase::Retired { last_expiry, .. } = key.phase else {
        let signs = matches!(key.phase, Phase::Active { .. });
        return signs.then_some(Reason::Signs).into_iter().collect();
    };
    let until = known.last_expiry.unwrap_or(last_expiry).min(key.not_after);
    let mut reasons = Vec::new();
    if !known.counted && now <= last_expiry {
        reasons.push(Reason::NotCounted);
    }
    // By a clock that runs behind ours it is still valid.
    let last = known.last_expiry.map(|last| last.min(key.not_after));
    let just = known.unexpired == 0 && last.is_some_and(|l| now <= l.plus(CLOCKS_DIFFER));
    if known.unexpired == 0 && !just {
        return reasons;
    }
    if !key.tainted {
        reasons.push(if just {
            Reason::JustExpired(until.plus(CLOCKS_DIFFER))
        } else {
            Reason::Unexpired(known.unexpired, until)
        });
        return reasons;
    }
    if known.holding > 0 && (just || known.unexpired > known.minted) {
        reasons.push(Reason::Held(known.holding, until));
    }
    if known.minted > 0 {
        reasons.push(Reason::Minted(known.minted, until));
    }
    reasons
}

/// What a key does next by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Its public half is published.
    Publish,
    /// It begins to sign, not before that time.
    Activate(Timestamp),
    /// A successor is made at that time.
    Prepare(Timestamp),
    /// Its successor takes over, not before that time.
    Retire(Timestamp),
    /// Its public half is taken out of the bundle after that time.
    Remove(Timestamp),
}

impl Next {
    /// The step's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Activate(_) => "activate",
            Self::Prepare(_) => "prepare a successor",
            Self::Retire(_) => "retire",
            Self::Remove(_) => "remove",
        }
    }

    /// The earliest time of the step.
    #[must_use]
    pub const fn at(self) -> Option<Timestamp> {
        match self {
            Self::Publish => None,
            Self::Activate(at) | Self::Prepare(at) | Self::Retire(at) | Self::Remove(at) => {
                Some(at)
            }
        }
    }
}

/// What a key does next by itself, when nothing is done by hand.
#[must_use]
pub fn next_step(state: &State, key: &Key, now: Timestamp, policy: &Policy) -> Next {
    match key.phase {
        Phase::Prepared => Next::Publish,
        Phase::Published { .. } => Next::Activate(activation(state, key, now, policy)),
        Phase::Active { .. } => match state.successor() {
            Some(successor) => Next::Retire(activation(state, successor, now, policy)),
            None if key.tainted || state.wanted => Next::Prepare(now),
            None => Next::Prepare(key.not_after.minus(policy.prepare_before).max(now)),
        },
        Phase::Retired {
            last_expiry,
            revoked,
            ..
        } => Next::Remove(if revoked {
            now
        } else {
            last_expiry.plus(policy.removal_skew).max(now)
        }),
    }
}

/// The earliest time at which a successor signs.
fn activation(state: &State, successor: &Key, now: Timestamp, policy: &Policy) -> Timestamp {
    let Some(active) = state.active().filter(|active| now < active.not_after) else {
        return now;
    };
    let published = match successor.phase {
        Phase::Published { at, .. } => at,
        Phase::Prepared | Phase::Active { .. } | Phase::Retired { .. } => now,
    };
    let interval = published.plus(policy.interval_after(active));
    let schedule = if active.tainted {
        now
    } else {
        active.not_after.minus(policy.activate_before)
    };
    interval.max(schedule).max(now)
}

/// What an event would do now, in sentences; nothing is done.
///
/// # Errors
/// It is not allowed: why, and what to do instead.
pub fn foresee(
    state: &State,
    event: Event,
    now: Timestamp,
    policy: &Policy,
) -> Result<Vec<String>, &'static str> {
    let (next, effects) = step(state, event, now, policy);
    if let Some(Effect::Refuse { why }) = effects.first() {
        return Err(why);
    }
    let mut sentences = Vec::new();
    for key in &next.keys {
        let before = state.key(key.slot);
        if before.is_some_and(|before| !before.tainted) && key.tainted {
            sentences.push(tainting(key));
        }
        let was = before.map(|before| phase_name(before.phase));
        let is = phase_name(key.phase);
        if was != Some(is) {
            sentences.push(format!("key {} becomes {is}", key.id));
        }
    }
    for effect in &effects {
        match effect {
            Effect::Create { .. } => sentences
                .push("a successor is made and published; it signs once agents know it".to_owned()),
            Effect::Remove { slot } => sentences.extend(next.key(*slot).map(|key| {
                format!(
                    "key {} leaves the bundle and its private half is deleted",
                    key.id
                )
            })),
            _ => {}
        }
    }
    if sentences.is_empty() {
        sentences.push("nothing changes".to_owned());
    }
    Ok(sentences)
}

fn tainting(key: &Key) -> String {
    match key.phase {
        Phase::Active { .. } => format!(
            "key {} is tainted; once its successor signs, every agent replaces what it signed",
            key.id
        ),
        Phase::Prepared | Phase::Published { .. } | Phase::Retired { .. } => format!(
            "key {} is tainted; every agent replaces what it signed and drops its tokens",
            key.id
        ),
    }
}

/// A phase in one word.
#[must_use]
pub const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Prepared => "prepared",
        Phase::Published { .. } => "published",
        Phase::Active { .. } => "active",
        Phase::Retired { .. } => "retired",
    }
}
