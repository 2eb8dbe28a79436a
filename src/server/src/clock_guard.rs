//! The server's clock, and whether it can be believed ([`authority::belief`]). A clock
//! that cannot be believed stops signing and rotation, and dates no record; everything
//! else goes on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use authority::belief::{Belief, Reading};

use crate::clock::Clock;
use crate::failure::Failure;

/// Watches one clock.
pub(crate) struct ClockGuard {
    clock: Clock,
    belief: Mutex<Belief>,
}

impl ClockGuard {
    /// Believes the clock as it is now, unless records are newer than it.
    pub(crate) fn new(clock: Clock, newest_record_ms: i64) -> Self {
        let belief = Belief::new(reading(&clock), newest_record_ms);
        Self {
            clock,
            belief: Mutex::new(belief),
        }
    }

    /// Refuses to sign by a clock that cannot be believed.
    ///
    /// # Errors
    /// [`crate::failure::Kind::Unavailable`], with what is wrong and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let mut belief = self.lock();
        let waited = belief.is_waiting();
        let checked = belief.check(reading(&self.clock));
        match (waited, belief.is_waiting()) {
            (false, true) => {
                tracing::error!("wall clock jumped ahead; nothing is signed for now");
            }
            (true, false) => {
                tracing::warn!("wall clock is believed again");
            }
            _ => {}
        }
        checked.map_err(Failure::unavailable)
    }

    /// The time that records carry, in milliseconds.
    pub(crate) fn record_ms(&self) -> i64 {
        self.lock().record_ms(reading(&self.clock))
    }

    /// Notes that a record was made just now.
    pub(crate) fn recorded(&self) {
        self.lock().recorded(reading(&self.clock));
    }

    /// By how many seconds the clock stands behind the newest record.
    pub(crate) fn behind_seconds(&self) -> i64 {
        self.lock().behind(reading(&self.clock)) / 1000
    }

    fn lock(&self) -> MutexGuard<'_, Belief> {
        // Every change is one assignment: a panic elsewhere leaves no half state.
        self.belief.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reading(clock: &Clock) -> Reading {
    Reading {
        wall: clock.now_ms(),
        uptime: i64::try_from(clock.since_boot().as_millis()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use authority::belief::QUARANTINE_MS;
    use identity::Timestamp;

    const QUARANTINE: Duration = Duration::from_millis(QUARANTINE_MS.unsigned_abs());

    fn guard() -> (Clock, ClockGuard) {
        let clock = Clock::manual(Timestamp(1_000_000));
        let guard = ClockGuard::new(clock.clone(), 1_000_000_000);
        (clock, guard)
    }

    #[test]
    fn time_that_passes_is_believed() {
        let (clock, guard) = guard();
        for _ in 0..100 {
            clock.advance(Duration::from_secs(86_400));
            assert!(guard.check().is_ok());
            guard.recorded();
        }
    }

    #[test]
    fn behind_the_records_nothing_is_signed() {
        let (clock, guard) = guard();
        clock.step_wall(-60);
        assert!(guard.check().is_ok());
        clock.step_wall(-2);
        assert!(guard.check().is_err());
        clock.advance(Duration::from_secs(10));
        assert!(guard.check().is_ok());
    }

    #[test]
    fn a_jump_ahead_is_believed_after_a_quarantine() {
        let (clock, guard) = guard();
        clock.step_wall(8 * 3_600);
        assert!(guard.check().is_err());
        clock.advance(QUARANTINE - Duration::from_secs(1));
        assert!(guard.check().is_err());
        clock.advance(Duration::from_secs(1));
        assert!(guard.check().is_ok());
        assert!(guard.check().is_ok());
    }

    #[test]
    fn a_jump_that_was_put_right_and_comes_back_is_waited_out_again() {
        let (clock, guard) = guard();
        for _ in 0..3 {
            clock.step_wall(86_400);
            assert!(guard.check().is_err());
            clock.advance(QUARANTINE / 2);
            clock.step_wall(-86_400);
            assert!(guard.check().is_ok());
            clock.advance(QUARANTINE);
        }
    }

    #[test]
    fn a_clock_that_keeps_jumping_is_not_believed() {
        let (clock, guard) = guard();
        for _ in 0..10 {
            clock.step_wall(3_600);
            clock.advance(QUARANTINE - Duration::from_secs(1));
            assert!(guard.check().is_err());
        }
    }

    #[test]
    fn ten_years_ahead_sign_and_date_nothing_and_the_way_back_is_free() {
        let (clock, guard) = guard();
        clock.step_wall(10 * 365 * 86_400);
        for _ in 0..10 {
            assert!(guard.check().is_err());
            guard.recorded();
            clock.advance(QUARANTINE);
        }
        assert!(guard.record_ms() < 1_000_010_000_000);
        clock.step_wall(-10 * 365 * 86_400);
        assert!(guard.check().is_ok());
    }
}
