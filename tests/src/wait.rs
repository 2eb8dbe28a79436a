//! Waiting for a condition, never for a time.

use std::time::Duration;

use crate::clock::moment;

/// How long a condition may take unless a test says otherwise: far beyond what
/// it takes, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look)
}

/// Waits until `look` finds something, no longer than `patience`.
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let start = moment();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = start.elapsed().unwrap_or_default();
        assert!(waited < patience, "waited {waited:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
