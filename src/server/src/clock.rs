//! The server's one clock: wall time for what credentials carry, and a clock that
//! also counts while the machine sleeps for ages and deadlines. Everything else
//! is handed the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use identity::Timestamp;

/// Where the time comes from: the machine, or a test.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Machine,
    Manual(Arc<Manual>),
}

struct Manual {
    wall_ms: AtomicI64,
    boot_ms: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub const fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that stands still until a test moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Manual {
            wall_ms: AtomicI64::new(start.0.saturating_mul(1000)),
            boot_ms: AtomicU64::new(1_000_000),
        })))
    }

    /// Moves a manual clock forward; the machine's does not listen.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.0 {
            let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            manual.boot_ms.fetch_add(ms, Ordering::SeqCst);
            let wall = i64::try_from(ms).unwrap_or(i64::MAX);
            manual.wall_ms.fetch_add(wall, Ordering::SeqCst);
        }
    }

    /// Moves only the wall time of a manual clock, either way, as an operator would.
    pub fn step_wall(&self, seconds: i64) {
        if let Source::Manual(manual) = &self.0 {
            let ms = seconds.saturating_mul(1000);
            manual.wall_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// Wall time in whole seconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.now_ms().div_euclid(1000))
    }

    /// Wall time in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::Machine => machine_wall_ms(),
            Source::Manual(manual) => manual.wall_ms.load(Ordering::SeqCst),
        }
    }

    /// Time since some fixed point, never falling, suspend included.
    #[must_use]
    pub fn since_boot(&self) -> Duration {
        match &self.0 {
            Source::Machine => machine_boot(),
            Source::Manual(manual) => Duration::from_millis(manual.boot_ms.load(Ordering::SeqCst)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the server's one wall clock")]
fn machine_wall_ms() -> i64 {
    let now = std::time::SystemTime::now();
    match now.duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        // A machine set before 1970 has no time worth signing with.
        Err(_) => 0,
    }
}

fn machine_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_clock_moves_forward() {
        let clock = Clock::machine();
        assert!(clock.now().0 > 1_700_000_000);
        assert!(clock.since_boot() <= clock.since_boot());
    }

    #[test]
    fn a_manual_clock_only_moves_when_told() {
        let clock = Clock::manual(Timestamp(100));
        assert_eq!(clock.now(), Timestamp(100));
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), Timestamp(105));
        clock.step_wall(-50);
        assert_eq!(clock.now(), Timestamp(55));
    }
}
