//! Rotation of signing keys as a pure state machine, one per server and profile:
//! prepared, published, active, retired, removed.
//!
//! [`step`] takes a state, an event and the time, and gives the next state and
//! what the shell is to do. The shell commits the state, then carries the effects
//! out, then reports back with an event. Effects are asked for again at each
//! [`Event::Tick`] until their event arrives, so a crash between any two lines is
//! mended by the next tick; carrying one out twice must be harmless.
//!
//! What holds, whatever the order, loss or repetition of events:
//! I1, a key signs only once its public half is published and acknowledged (an
//! audited [`Event::ActivateNow`] waives the acknowledgement, never the publication);
//! I2, a public key is removed only after the last thing it signed has expired,
//! or by an audited [`Event::Revoke`]; and at most one key is active.

mod patience;
mod status;
mod step;
mod verdict;

use std::sync::Arc;

use identity::{Seconds, Timestamp};

pub use patience::{TAINT_PATIENCE, is_out_of_patience};
pub use status::{Waiting, waiting_for};
pub use step::step;
pub use verdict::{
    Dependents, Next, Reason, against_activating, against_revoking, against_tainting, foresee,
    next_step, phase_name,
};

/// Names a key within one server and profile; counts up and is never used again.
pub type Slot = u64;

/// The most keys in one state: beyond it nothing new is made.
pub const MAX_KEYS: usize = 40;

/// How far a key has come. A removed key is no longer in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The key exists; its public half is nowhere yet.
    Prepared,
    /// The public half is in the committed bundle.
    Published {
        /// Since when.
        at: Timestamp,
        /// Whether every verifier that counts has taken the bundle in.
        acknowledged: bool,
    },
    /// It signs.
    Active {
        /// Since when.
        at: Timestamp,
    },
    /// It signs no more; what it signed may still be valid.
    Retired {
        /// Since when.
        at: Timestamp,
        /// When the last thing it signed expires; the key's own end until the
        /// shell reports better.
        last_expiry: Timestamp,
        /// Whether an admin revoked it: it goes at once.
        revoked: bool,
    },
}

/// One key of the rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its slot.
    pub slot: Slot,
    /// The authority's id: subject key identifier or `kid`.
    pub id: Arc<str>,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends: nothing it signs lives longer (I3).
    pub not_after: Timestamp,
    /// How far it has come.
    pub phase: Phase,
    /// Whether it is no longer to be relied on.
    pub tainted: bool,
}

/// All keys of one server and profile. Committed as one record.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct State {
    /// The slot the next key gets.
    pub next_slot: Slot,
    /// The keys, oldest first.
    pub keys: Vec<Key>,
    /// Whether a successor was asked for before its time.
    pub wanted: bool,
}

impl State {
    /// The key that signs, if any does.
    #[must_use]
    pub fn active(&self) -> Option<&Key> {
        self.keys
            .iter()
            .find(|key| matches!(key.phase, Phase::Active { .. }))
    }

    /// The key that is to sign next: prepared or published.
    #[must_use]
    pub fn successor(&self) -> Option<&Key> {
        self.keys
            .iter()
            .find(|key| matches!(key.phase, Phase::Prepared | Phase::Published { .. }))
    }

    /// The key in a slot.
    #[must_use]
    pub fn key(&self, slot: Slot) -> Option<&Key> {
        self.keys.iter().find(|key| key.slot == slot)
    }
}

/// When things happen. All spans are compared with a key's own validity, so a
/// changed configuration takes effect with the next decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A successor is prepared when the active key has this much of its life left.
    pub prepare_before: Seconds,
    /// The successor is activated when the active key has this much left.
    pub activate_before: Seconds,
    /// A key stays published this long before it signs: at least the advertised
    /// lifetime of every published bundle and key set.
    pub publication_interval: Seconds,
    /// How long after its publication a successor waits for verifiers that count and
    /// have not taken it in; counted after the publication interval.
    pub patience: Seconds,
    /// How long after the last expiry a public key stays, for clocks that differ.
    pub removal_skew: Seconds,
}

impl Policy {
    /// The usual thresholds for keys of that lifetime: prepare at a half, activate
    /// at a sixth, remove ten minutes after the last expiry. The publication
    /// interval is kept below a third of the lifetime, so that it always fits, and
    /// the ten minutes below a half, so that keys of short lives do not pile up. Verifiers
    /// that do not acknowledge are waited for ten minutes, a sixth of the lifetime at most.
    #[must_use]
    pub fn for_lifetime(lifetime: Seconds, publication_interval: Seconds) -> Self {
        Self {
            prepare_before: Seconds(lifetime.0 / 2),
            activate_before: Seconds(lifetime.0 / 6),
            publication_interval: Seconds(publication_interval.0.min(lifetime.0 / 3)),
            patience: Seconds(600.min(lifetime.0 / 6)),
            removal_skew: Seconds(600.min(lifetime.0 / 2)),
        }
    }
}

impl Policy {
    /// The same thresholds with another patience, of a sixth of the lifetime at most.
    #[must_use]
    pub fn with_patience(mut self, patience: Seconds, lifetime: Seconds) -> Self {
        self.patience = Seconds(patience.0.min(lifetime.0 / 6));
        self
    }

    /// The thresholds for intermediates of that lifetime: prepared and activated at half
    /// life, for they travel with what they sign and need no publication of their own.
    #[must_use]
    pub fn for_intermediate(lifetime: Seconds, publication_interval: Seconds) -> Self {
        let half = Seconds(lifetime.0 / 2);
        Self {
            prepare_before: half,
            activate_before: half,
            ..Self::for_lifetime(lifetime, publication_interval)
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed, or the server started.
    Tick,
    /// An admin asks for a successor now.
    PrepareNow,
    /// The key of a [`Effect::Create`] exists.
    Created {
        /// The slot that was asked for.
        slot: Slot,
        /// The authority's id.
        id: Arc<str>,
        /// When it begins.
        not_before: Timestamp,
        /// When it ends.
        not_after: Timestamp,
    },
    /// A bundle with the key's public half is committed.
    Published {
        /// Which key.
        slot: Slot,
    },
    /// Every verifier that counts has taken in a bundle with the key: live agents
    /// delivered it to their streams, stock agents fetched it.
    Acknowledged {
        /// Which key.
        slot: Slot,
    },
    /// An admin activates a published key without waiting. To be audited.
    ActivateNow {
        /// Which key.
        slot: Slot,
    },
    /// The shell stopped signing with a retired key and knows when the last thing
    /// that it ever signed expires.
    Drained {
        /// Which key.
        slot: Slot,
        /// The latest expiry.
        last_expiry: Timestamp,
    },
    /// An admin no longer relies on a key.
    Taint {
        /// Which key.
        slot: Slot,
    },
    /// An admin removes a retired or unused key whatever it signed. To be audited;
    /// the shell asks whether anyone depends on it first.
    Revoke {
        /// Which key.
        slot: Slot,
    },
    /// A bundle without the key's public half is committed, and the private half gone.
    Removed {
        /// Which key.
        slot: Slot,
    },
}

/// What the shell is to do, after committing the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make a key for a slot, or find the one made before a crash; answer with
    /// [`Event::Created`].
    Create {
        /// The slot; the storage's key id is made of it.
        slot: Slot,
    },
    /// Commit a bundle with the key's public half; answer with [`Event::Published`].
    Publish {
        /// Which key.
        slot: Slot,
    },
    /// Find out whether every verifier has the key; answer with
    /// [`Event::Acknowledged`] once they have.
    AwaitAcknowledgement {
        /// Which key.
        slot: Slot,
    },
    /// Sign with this key from now on.
    Activate {
        /// Which key.
        slot: Slot,
    },
    /// Sign with this key no more; answer with [`Event::Drained`] when known.
    Retire {
        /// Which key.
        slot: Slot,
    },
    /// Commit a bundle in which the key is tainted, and have holders replace what
    /// it signed. Comes once the key signs no more: before, holders could only
    /// replace what it signed by more of the same.
    Taint {
        /// Which key.
        slot: Slot,
    },
    /// Commit a bundle without the key and delete its private half; answer with
    /// [`Event::Removed`].
    Remove {
        /// Which key.
        slot: Slot,
    },
    /// The event asked for something that is not allowed now; nothing changed.
    Refuse {
        /// Why, and what to do instead.
        why: &'static str,
    },
}
