//! Bugs planted on purpose, so that the tests that look for them can be tested.

use std::io;

/// How a journal breaks its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// It does not.
    None,
    /// Acknowledges a group before it is written.
    AckBeforeWrite,
    /// Every sync fails, as a broken disk's would, after this many.
    SyncFailsAfter(u32),
    /// So many syncs succeed, then so many fail, then all succeed again.
    SyncFailsFor {
        /// How many succeed first.
        after: u32,
        /// How many fail then.
        times: u32,
    },
    /// The next segment can never be made, as without free descriptors.
    NoNextSegment,
    /// This many allocations succeed, then as many fail as on a full disk, and so on.
    FullEveryOther(u32),
}

/// Counts down to the planted failure.
pub(crate) struct Countdown {
    fault: PlantedFault,
    calls: u32,
}

impl Countdown {
    pub(crate) fn new(fault: PlantedFault) -> Self {
        Self { fault, calls: 0 }
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let (after, times) = match self.fault {
            PlantedFault::SyncFailsAfter(after) => (after, u32::MAX),
            PlantedFault::SyncFailsFor { after, times } => (after, times),
            _ => return Ok(()),
        };
        self.calls = self.calls.saturating_add(1);
        let failed = self.calls.saturating_sub(after);
        if failed > 0 && failed <= times {
            Err(io::Error::other("planted sync failure"))
        } else {
            Ok(())
        }
    }

    pub(crate) fn prepare(&self) -> io::Result<()> {
        match self.fault {
            PlantedFault::NoNextSegment => Err(io::Error::other("planted lack of descriptors")),
            _ => Ok(()),
        }
    }

    pub(crate) fn allocate(&mut self) -> io::Result<()> {
        let PlantedFault::FullEveryOther(period) = self.fault else {
            return Ok(());
        };
        let full = self.calls.checked_div(period).unwrap_or(0) % 2 == 1;
        self.calls = self.calls.saturating_add(1);
        if full {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}
