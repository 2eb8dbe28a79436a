//! The server's clock as somebody may set it, against an uptime that nobody can; what
//! the server believes of it is decided by the real guard.

use authority::belief::{Belief, MAX_BELIEVED_JUMP_MS, MAX_JUMP_MS, MAX_REGRESSION_MS, Reading};
use authority::rotation::{Phase, Slot, TAINT_PATIENCE};
use identity::{Seconds, Timestamp};

use super::{Bug, Fleet, INTERVAL};

/// The machine's uptime when the time of agents was zero.
const UPTIME: i64 = -1_000_000_000;

/// Less than the guard's quarantine, after which a wrong clock would be believed: nobody
/// can tell it from a machine that was paused.
const PUT_RIGHT_AFTER: Seconds = Seconds(500);

/// What a server that starts on a right clock believes.
pub(super) fn belief(now: Timestamp) -> Belief {
    Belief::new(reading(now, 0), 0)
}

const fn reading(now: Timestamp, skew: i64) -> Reading {
    Reading {
        wall: (now.0 + skew) * 1000,
        uptime: (now.0 + UPTIME) * 1000,
    }
}

impl Fleet {
    /// What the server's wall clock shows.
    pub(crate) fn server_now(&self) -> Timestamp {
        Timestamp(self.now.0 + self.skew)
    }

    pub(super) fn uptime(&self) -> Timestamp {
        Timestamp(self.now.0 + UPTIME)
    }

    fn reading(&self) -> Reading {
        reading(self.now, self.skew)
    }

    /// Whether the server refuses to go by its clock now.
    pub(super) fn disbelieves(&mut self) -> bool {
        let reading = self.reading();
        self.belief.check(reading).is_err() && !self.has(Bug::BelievesEveryClock)
    }

    /// Something was recorded just now.
    pub(super) fn record(&mut self) {
        let reading = self.reading();
        self.belief.recorded(reading);
    }

    /// Somebody sets the server's clock.
    pub(crate) fn set_clock(&mut self) {
        const JUMPS: [i64; 6] = [1, 60, 240, 3_600, 86_400, 10 * 365 * 86_400];
        let jump = JUMPS[self.chance.index(JUMPS.len())];
        self.skew = match self.chance.below(3) {
            0 => 0,
            1 => jump,
            _ => -jump,
        };
        let ms = self.skew * 1000;
        let would_be_believed = ms > MAX_JUMP_MS && ms <= MAX_BELIEVED_JUMP_MS;
        let at = self
            .right_at
            .unwrap_or_else(|| self.now.plus(PUT_RIGHT_AFTER));
        self.right_at = would_be_believed.then_some(at);
    }

    pub(super) fn right_clock(&mut self) {
        (self.skew, self.right_at) = (0, None);
    }

    /// A server does not start on a clock behind its records, and whoever starts it puts
    /// right one that ran far ahead: neither server nor anybody could tell.
    pub(super) fn restart_clock(&mut self) {
        let newest = self.belief.newest_ms();
        let refuses = self.server_now().0 * 1000 < newest - MAX_REGRESSION_MS;
        if refuses || self.skew * 1000 > MAX_JUMP_MS {
            self.right_clock();
        }
        self.belief = Belief::new(self.reading(), newest);
    }

    /// The time by which it is judged how long a key was public.
    pub(super) fn steady(&self, slot: Slot) -> Timestamp {
        let now = self.server_now();
        let (Some(key), false) = (self.state.key(slot), self.has(Bug::MeasuresByTheWall)) else {
            return now;
        };
        let Phase::Published { at, .. } = key.phase else {
            return now;
        };
        let since = self.public_since.get(&slot).copied();
        let public_for = self.uptime().since(since.unwrap_or_else(|| self.uptime()));
        now.min(at.plus(public_for))
    }

    /// Whether relying parties may not have fetched the key yet.
    pub(super) fn is_too_soon(&self, slot: Slot) -> bool {
        let now = self.server_now();
        let signs = self.state.active().is_some_and(|key| now < key.not_after);
        let at = self.state.key(slot).and_then(|key| match key.phase {
            Phase::Published { at, .. } => Some(at),
            _ => None,
        });
        let waits = signs && !self.has(Bug::PublishesForNoTime);
        let leaked = self.state.active().is_some_and(|key| key.tainted);
        let interval = if leaked { TAINT_PATIENCE } else { INTERVAL };
        at.is_some_and(|at| waits && self.steady(slot) < at.plus(interval))
    }

    /// Whether a key began to sign when there was no other that could, or that was to.
    pub(super) fn is_hurried(&self, slot: Slot) -> bool {
        let Some(Phase::Active { at }) = self.state.key(slot).map(|key| key.phase) else {
            return false;
        };
        let relieved = |phase| matches!(phase, Phase::Retired { at: then, .. } if then == at);
        let mut others = self.state.keys.iter().filter(|key| relieved(key.phase));
        let begins = self.signing != Some(slot);
        !others.any(|key| key.not_after > at && !(begins && key.tainted))
    }

    /// I1 after a taint: nobody is waited for longer than the patience, and for no less,
    /// whatever the wall clock says.
    pub(super) fn check_patience(&self, slot: Slot) {
        let Some(Phase::Active { at }) = self.state.key(slot).map(|key| key.phase) else {
            return;
        };
        let relieved = |phase| matches!(phase, Phase::Retired { at: then, .. } if then == at);
        let mut keys = self.state.keys.iter();
        let leaked = keys.any(|key| relieved(key.phase) && key.tainted && key.not_after > at);
        if leaked && self.signing != Some(slot) {
            let public = self.truth[&slot].public_at;
            let public = public.map_or(0, |since| self.now.since(since).0);
            assert!(
                public >= TAINT_PATIENCE.0,
                "I1: it signs after {public} s in the bundle"
            );
        }
    }
}
