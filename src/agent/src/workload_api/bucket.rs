//! A token bucket: so many at once, so many over time.

use std::time::Duration;

/// What one principal may still take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at: Duration,
}

/// What every bucket of a kind holds, and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: f64,
}

impl Bucket {
    /// A full one.
    pub(super) const fn full(rate: Rate, now: Duration) -> Self {
        Self {
            tokens: rate.burst,
            at: now,
        }
    }

    /// Takes `cost` tokens if there are as many. What costs more than a bucket ever
    /// holds takes a full one.
    pub(super) fn take(&mut self, cost: f64, rate: Rate, now: Duration) -> bool {
        self.tokens = self.level(rate, now);
        self.at = now;
        let cost = cost.min(rate.burst);
        let is_enough = self.tokens >= cost;
        if is_enough {
            self.tokens -= cost;
        }
        is_enough
    }

    /// Whether nothing is known by it any more.
    pub(super) fn is_full(&self, rate: Rate, now: Duration) -> bool {
        self.level(rate, now) >= rate.burst
    }

    fn level(&self, rate: Rate, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        passed.mul_add(rate.per_second, self.tokens).min(rate.burst)
    }
}
