//! Every bound of this crate, in one place.

use std::time::Duration;

/// Connecting, the TLS handshake included.
pub(crate) const CONNECT: Duration = Duration::from_secs(2);

/// One attempt at a call, connecting included; never longer than the whole budget.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(3);

/// How often a call is tried, within its budget.
pub(crate) const ATTEMPTS: u32 = 4;

/// Before the second attempt; each further one waits twice as long.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(100);

/// Making, finding and removing keys may take longer than signing.
pub(crate) const CHANGE_BUDGET: Duration = Duration::from_secs(20);

/// Connections that are kept for the next call.
pub(crate) const IDLE_CONNECTIONS: usize = 8;

/// The largest answer that is read, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 256 << 10;

/// The largest file of credentials or tokens that is read, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 64 << 10;

/// The longest message KMS hashes itself, in bytes; of longer ones it is sent the digest.
pub(crate) const MAX_RAW_BYTES: usize = 4096;

/// Pages of aliases that are looked through.
pub(crate) const MAX_PAGES: usize = 200;

/// Credentials are fetched anew when they end within so many seconds.
pub(crate) const RENEW_CREDENTIALS_BEFORE: i64 = 300;

/// How long a removed key can still be saved, in days: the least KMS allows.
pub(crate) const DELETION_DAYS: u32 = 7;

/// What is kept of an error's text, in bytes.
pub(crate) const MAX_REASON_BYTES: usize = 300;
