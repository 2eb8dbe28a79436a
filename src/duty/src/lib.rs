//! What a server or an agent must do by itself, each thing with a deadline, and the one
//! place that knows which of them are late and why. `/ready`, `/live`, the watchdog,
//! gRPC health, metrics and `bulla doctor` all read it.
//!
//! A loop registers its duty once ([`Duties::add`]) and reports each outcome to the
//! [`Duty`] it got. Nobody has to notice that a loop died: a duty that is not reported
//! becomes late by itself.
//!
//! Floor 0: imports none of ours, does no I/O and sees no clock. Times are durations on
//! a clock that never falls and also counts while the machine sleeps
//! (`CLOCK_BOOTTIME`).
//!
//! ```
//! use std::time::Duration;
//! use duty::{Condition, Duties, Weight};
//!
//! let seconds = Duration::from_secs;
//! let duties = Duties::default();
//! let rotation = duties.add("rotation", seconds(60), Weight::Vital, seconds(0));
//! rotation.failed(seconds(50), "the key storage does not answer");
//! assert!(duties.is_ready(seconds(60)));
//! let late = duties.late(seconds(61));
//! assert_eq!(late[0].condition, Condition::Failing);
//! ```

mod book;
mod duty;
mod standing;

pub use book::Duties;
pub use duty::{Duty, MAX_ERROR_BYTES};
pub use standing::{Condition, Standing, Weight};
