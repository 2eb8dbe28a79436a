//! The agent's one look at the time.
//!
//! Everything else in this crate is handed a [`Clock`]: the wall clock for what
//! credentials say, `CLOCK_BOOTTIME` for spans, because `Instant` stands still
//! while a machine is suspended and a laptop's agent must notice on waking that
//! its SVIDs have aged.

use std::fmt;
#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use identity::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Wall clock and boot clock, real or set by hand. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    #[cfg(test)]
    Manual(Arc<Manual>),
}

#[cfg(test)]
struct Manual {
    wall_seconds: AtomicI64,
    boot_millis: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    pub(crate) const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that moves only by [`Clock::advance`].
    #[cfg(test)]
    pub(crate) fn manual(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Manual {
            wall_seconds: AtomicI64::new(now.0),
            boot_millis: AtomicU64::new(0),
        })))
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp(system_wall_seconds()),
            #[cfg(test)]
            Source::Manual(manual) => Timestamp(manual.wall_seconds.load(Ordering::SeqCst)),
        }
    }

    /// Time since the machine booted, suspend included.
    pub(crate) fn boottime(&self) -> Duration {
        match &self.0 {
            Source::System => system_boottime(),
            #[cfg(test)]
            Source::Manual(manual) => {
                Duration::from_millis(manual.boot_millis.load(Ordering::SeqCst))
            }
        }
    }

    /// Moves a manual clock forward; the system's clock is not ours to move.
    #[cfg(test)]
    pub(crate) fn advance(&self, by: identity::Seconds) {
        if let Source::Manual(manual) = &self.0 {
            manual
                .wall_seconds
                .fetch_add(i64::from(by.0), Ordering::SeqCst);
            manual
                .boot_millis
                .fetch_add(u64::from(by.0) * 1000, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Source::System => f.write_str("Clock(system)"),
            #[cfg(test)]
            Source::Manual(_) => f.write_str("Clock(manual)"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the agent reads the wall clock"
)]
fn system_wall_seconds() -> i64 {
    // Before 1970 the clock is plainly unset; zero makes every certificate "not
    // yet valid" and so fails closed.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn system_boottime() -> Duration {
    let at = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(at.tv_sec).unwrap_or(0),
        u32::try_from(at.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use identity::{Seconds, Timestamp};

    use super::Clock;

    #[test]
    fn the_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp(1000));
        let boot = clock.boottime();
        clock.advance(Seconds(5));
        assert_eq!(clock.now(), Timestamp(1005));
        assert_eq!((clock.boottime() - boot).as_secs(), 5);
    }

    #[test]
    fn the_system_clock_knows_this_century() {
        assert!(Clock::system().now() > Timestamp(1_700_000_000));
        assert!(!Clock::system().boottime().is_zero());
    }
}
