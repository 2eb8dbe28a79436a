//! Every bound of this crate, in one place.

use std::time::Duration;

/// Sessions with the token at one time, unless configured: so many signatures at once.
pub(crate) const SESSIONS: u16 = 8;

/// The most sessions that can be configured.
pub(crate) const MAX_SESSIONS: u16 = 256;

/// How long a signature waits for a session before it is unavailable.
pub(crate) const SESSION_WAIT: Duration = Duration::from_secs(3);

/// How often an operation is tried: once more after the token had to be found again.
pub(crate) const TRIES: usize = 2;

/// The most objects of one label that are looked at.
pub(crate) const MAX_OBJECTS: usize = 2 * keys::MAX_KEYS + 16;

/// The longest PIN, in bytes.
pub(crate) const MAX_PIN_BYTES: usize = 255;
