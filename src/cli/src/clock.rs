//! The one place where the command line reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use identity::Timestamp;

/// The wall clock, in whole seconds.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell's one wall clock")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The wall clock, in milliseconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell's one wall clock")]
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A point to measure spans from.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell's one stopwatch")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
