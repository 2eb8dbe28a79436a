//! Bugs planted on purpose, so that the tests that look for them can be tested.

/// How a store breaks its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// It does not.
    None,
    /// Neither flushes nor syncs before it acknowledges.
    SkipFlush,
    /// Every sync fails, as a broken disk's would, after this many groups.
    SyncFailsAfter(u64),
    /// The disk counts as full from this revision on.
    FullFrom(u64),
}
