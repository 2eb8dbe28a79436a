//! The wall clock, which the programs under test go by.

use std::time::SystemTime;

use identity::Timestamp;

/// This moment, for spans of what real processes do.
#[expect(
    clippy::disallowed_methods,
    reason = "real processes live in real time"
)]
#[must_use]
pub fn moment() -> SystemTime {
    SystemTime::now()
}

/// The time in whole seconds, as credentials have it.
#[must_use]
pub fn now() -> Timestamp {
    let since = moment().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_secs()).unwrap())
}
