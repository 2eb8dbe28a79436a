//! Every bound of the cache, in one place.

use identity::Seconds;

use crate::Room;

/// The cache's limits. [`Limits::default`] suits a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most entries; the server's surplus is left out and counted.
    pub max_entries: usize,
    /// For how many entries X.509-SVIDs are kept ready although nobody asks.
    /// Entries beyond are issued when a workload asks.
    pub max_prefetched: usize,
    /// The most JWT-SVIDs kept, and their bytes. When there are more, the entry that
    /// holds the most gives up the one it used least recently.
    pub jwt_svids: Room,
    /// The most distinct callers (sets of selectors) with open streams.
    pub max_views: usize,
    /// How many views are kept warm after their last stream closed.
    pub max_idle_views: usize,
    /// How long an issuance may be in flight before it is due again.
    pub in_flight: Seconds,
    /// The first pause after a failed issuance.
    pub retry_min: Seconds,
    /// The longest pause between failed issuances.
    pub retry_max: Seconds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            max_prefetched: 1_000,
            jwt_svids: Room {
                items: 1_000,
                bytes: 4 * 1024 * 1024,
            },
            max_views: 20_000,
            max_idle_views: 256,
            in_flight: Seconds(60),
            retry_min: Seconds(1),
            retry_max: Seconds(60),
        }
    }
}
