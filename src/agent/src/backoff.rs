//! How long to wait before trying again: decorrelated back-off, so that agents
//! which lost their server together do not come back together.

use std::time::Duration;

use crate::limits;

/// The waits of one thing that is tried again and again.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    last: Duration,
    ceiling: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(limits::RETRY_CEILING)
    }
}

impl Backoff {
    /// Waits that never exceed `ceiling`.
    pub(crate) fn up_to(ceiling: Duration) -> Self {
        Self {
            last: limits::RETRY_FLOOR,
            ceiling: ceiling.max(limits::RETRY_FLOOR),
        }
    }

    /// The next wait: between the floor and three times the last one.
    /// `fraction` is a random number in `0.0..1.0`.
    pub(crate) fn next(&mut self, fraction: f64) -> Duration {
        let floor = limits::RETRY_FLOOR;
        let span = self.last.saturating_mul(3).saturating_sub(floor);
        self.last = (floor + span.mul_f64(fraction.clamp(0.0, 1.0))).min(self.ceiling);
        self.last
    }

    /// It worked: the next failure waits as little as the first.
    pub(crate) fn succeeded(&mut self) {
        self.last = limits::RETRY_FLOOR;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_bounded_and_start_over() {
        let mut backoff = Backoff::default();
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            let wait = backoff.next(0.99);
            assert!(wait >= last && wait <= limits::RETRY_CEILING);
            last = wait;
        }
        assert_eq!(last, limits::RETRY_CEILING);
        backoff.succeeded();
        assert!(backoff.next(0.99) < Duration::from_millis(400));
        assert_eq!(backoff.next(0.0), limits::RETRY_FLOOR);
    }
}
