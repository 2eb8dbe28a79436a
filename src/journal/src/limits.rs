//! How long a journal waits before it tries to write again.

use std::time::Duration;

/// The first pause after a write failed.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause; each failed try doubles it up to here.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of room that a journal must have before it says that the disk is not full any more.
pub(crate) const PROBE_BYTES: usize = 64 << 10;
