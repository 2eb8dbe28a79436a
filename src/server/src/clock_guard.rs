//! Whether the wall clock can be believed: against the newest decision record, and
//! against the machine's uptime. A clock that cannot be believed stops signing and
//! rotation, and dates no record; everything else goes on.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::failure::Failure;
use crate::limits;

/// Watches one clock.
pub(crate) struct ClockGuard {
    clock: Clock,
    /// The newest time in any record, in milliseconds.
    newest_ms: AtomicI64,
    /// Wall time less uptime, in milliseconds, as last believed.
    offset_ms: AtomicI64,
    jumped: Mutex<Option<Jump>>,
}

/// A jump ahead that is not believed yet.
#[derive(Clone, Copy)]
struct Jump {
    since: Duration,
    offset_ms: i64,
}

impl ClockGuard {
    /// Believes the clock as it is now, unless records are newer than it.
    pub(crate) fn new(clock: Clock, newest_record_ms: i64) -> Self {
        Self {
            offset_ms: AtomicI64::new(offset(&clock)),
            clock,
            newest_ms: AtomicI64::new(newest_record_ms),
            jumped: Mutex::new(None),
        }
    }

    /// Refuses to sign by a clock that cannot be believed.
    ///
    /// # Errors
    /// [`crate::failure::Kind::Unavailable`], with what is wrong and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let behind = self.behind_seconds();
        if behind > limits::MAX_CLOCK_REGRESSION_SECONDS {
            return Err(Failure::unavailable(format!(
                "this server's clock is {behind} s behind its newest record; nothing is signed until it is right"
            )));
        }
        let ahead = self.ahead_ms();
        if ahead <= limits::MAX_CLOCK_JUMP_MS {
            return Ok(());
        }
        self.check_jump(ahead)
    }

    /// A jump ahead that stays for a while is believed, as after a pause of the whole
    /// machine; one of more than days needs somebody to look.
    fn check_jump(&self, ahead: i64) -> Result<(), Failure> {
        let (now, offset_ms) = (self.clock.since_boot(), offset(&self.clock));
        let mut jumped = self.jumped.lock().unwrap_or_else(PoisonError::into_inner);
        let jump = match *jumped {
            Some(jump) if (offset_ms - jump.offset_ms).abs() <= limits::MAX_CLOCK_JUMP_MS => jump,
            _ => {
                tracing::error!(
                    seconds = ahead / 1000,
                    "wall clock jumped ahead; nothing is signed for now"
                );
                let jump = Jump {
                    since: now,
                    offset_ms,
                };
                *jumped = Some(jump);
                jump
            }
        };
        let waited = now.saturating_sub(jump.since);
        if ahead <= limits::MAX_BELIEVED_JUMP_MS && waited >= limits::CLOCK_QUARANTINE {
            tracing::warn!(
                seconds = ahead / 1000,
                "wall clock stayed where it jumped to; it is believed from now on"
            );
            self.offset_ms.store(offset_ms, Ordering::Relaxed);
            *jumped = None;
            return Ok(());
        }
        Err(Failure::unavailable(format!(
            "this server's clock jumped {} s ahead of the machine's uptime; nothing is signed until it is right, or the server is restarted",
            ahead / 1000
        )))
    }

    /// The time that records carry: the wall clock's, or, while that has jumped ahead,
    /// what the uptime says it would be.
    pub(crate) fn record_ms(&self) -> i64 {
        let wall = self.clock.now_ms();
        let ahead = self.ahead_ms();
        if ahead <= limits::MAX_CLOCK_JUMP_MS {
            return wall;
        }
        wall.saturating_sub(ahead)
    }

    /// Notes that a record was made just now.
    pub(crate) fn recorded(&self) {
        self.newest_ms
            .fetch_max(self.record_ms(), Ordering::Relaxed);
    }

    /// By how many seconds the clock stands behind the newest record.
    pub(crate) fn behind_seconds(&self) -> i64 {
        let newest = self.newest_ms.load(Ordering::Relaxed);
        newest.saturating_sub(self.clock.now_ms()).max(0) / 1000
    }

    /// By how many milliseconds the clock ran ahead of the uptime since it was believed.
    fn ahead_ms(&self) -> i64 {
        offset(&self.clock).saturating_sub(self.offset_ms.load(Ordering::Relaxed))
    }
}

fn offset(clock: &Clock) -> i64 {
    let boot = i64::try_from(clock.since_boot().as_millis()).unwrap_or(i64::MAX);
    clock.now_ms().saturating_sub(boot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::Timestamp;

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
        clock.advance(limits::CLOCK_QUARANTINE - Duration::from_secs(1));
        assert!(guard.check().is_err());
        clock.advance(Duration::from_secs(1));
        assert!(guard.check().is_ok());
        assert!(guard.check().is_ok());
    }

    #[test]
    fn a_clock_that_keeps_jumping_is_not_believed() {
        let (clock, guard) = guard();
        for _ in 0..10 {
            clock.step_wall(3_600);
            clock.advance(limits::CLOCK_QUARANTINE - Duration::from_secs(1));
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
            clock.advance(limits::CLOCK_QUARANTINE);
        }
        assert!(guard.record_ms() < 1_000_010_000_000);
        clock.step_wall(-10 * 365 * 86_400);
        assert!(guard.check().is_ok());
    }
}
