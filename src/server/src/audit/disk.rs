//! How much space is left on the disk, and who may still write for it. What strangers
//! cause stops first, then issuance, then what administrators change; what takes access
//! away and what keeps the server alive goes on, on a reserve of its own.
//!
//! All of it goes back by itself once there is space again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use journal::Priority;

use crate::failure::{Failure, Kind};
use crate::metrics;

/// The file that holds space nobody else can take.
const RESERVE_FILE: &str = "reserve";
/// The file is made and removed in whole mebibytes.
const MIB: u64 = 1 << 20;

/// Free bytes below which each priority is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watermarks {
    /// Below it refusals of strangers are counted only.
    pub(crate) strangers: u64,
    /// Below it nothing is issued; administrators change things down to half of it.
    pub(crate) issuance: u64,
    /// Bytes of the reserve file. It is given up when less than half of it is free.
    pub(crate) reserve: u64,
}

impl Watermarks {
    /// Free bytes below which the store refuses every commit: it cannot be opened again
    /// on a disk that is really full.
    pub(crate) const fn floor(self) -> u64 {
        self.reserve / 2
    }

    const fn mark(self, priority: Priority) -> u64 {
        match priority {
            Priority::Stranger => self.strangers,
            Priority::Issuance => self.issuance,
            Priority::Admin => self.issuance / 2,
            Priority::Vital => 0,
        }
    }
}

/// What the disk allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskStatus {
    /// Free bytes at the last look.
    pub(crate) free: u64,
    /// The highest priority that is refused, if any is.
    pub(crate) refused: Option<Priority>,
}

/// Watches the space of one data directory.
pub(super) struct Disk {
    dir: PathBuf,
    marks: Watermarks,
    free: AtomicU64,
    /// How many priorities are refused, from the lowest.
    refused: AtomicU8,
}

impl Disk {
    pub(super) fn new(dir: &Path, marks: Watermarks) -> Self {
        let disk = Self {
            dir: dir.to_path_buf(),
            marks,
            free: AtomicU64::new(u64::MAX),
            refused: AtomicU8::new(0),
        };
        disk.look();
        disk
    }

    /// Looks at the disk; makes the reserve, or gives it up.
    pub(super) fn look(&self) {
        let Some(free) = free_bytes(&self.dir) else {
            return;
        };
        if free < self.marks.floor() && release_reserve(&self.dir) {
            tracing::error!(free, "disk is full: the reserve of space was given up");
        } else if free
            > self
                .marks
                .issuance
                .saturating_add(self.marks.reserve.saturating_mul(2))
        {
            self.make_reserve();
        }
        self.note(free_bytes(&self.dir).unwrap_or(free));
    }

    /// Takes so many free bytes for true.
    pub(super) fn note(&self, free: u64) {
        self.free.store(free, Ordering::Relaxed);
        let before = self.refused.load(Ordering::Relaxed);
        let refused = Priority::ALL
            .into_iter()
            .zip(0_u8..)
            .filter(|(priority, n)| {
                let mark = self.marks.mark(*priority);
                // Once refused, an eighth more is wanted: no flutter at the mark.
                let wanted = if *n < before {
                    mark.saturating_add(mark / 8)
                } else {
                    mark
                };
                free < wanted
            })
            .count();
        let refused = u8::try_from(refused).unwrap_or(u8::MAX);
        self.refused.store(refused, Ordering::Relaxed);
        let free_mib = free / MIB;
        match before.cmp(&refused) {
            std::cmp::Ordering::Less => {
                let stopped = self.status().refused.map_or("", name);
                tracing::error!(free_mib, stopped, "disk is running full; free some space");
            }
            std::cmp::Ordering::Greater => {
                tracing::warn!(free_mib, "there is space on the disk again");
            }
            std::cmp::Ordering::Equal => {}
        }
        metrics::set(
            metrics::DISK_FREE_MIB,
            f64::from(u32::try_from(free_mib).unwrap_or(u32::MAX)),
        );
        metrics::set(metrics::DISK_STOPPED, f64::from(refused));
    }

    pub(super) fn status(&self) -> DiskStatus {
        let refused = usize::from(self.refused.load(Ordering::Relaxed));
        DiskStatus {
            free: self.free.load(Ordering::Relaxed),
            refused: refused
                .checked_sub(1)
                .and_then(|n| Priority::ALL.get(n).copied()),
        }
    }

    /// Refuses what the disk has no space for.
    pub(super) fn admit(&self, priority: Priority) -> Result<(), Failure> {
        let status = self.status();
        match status.refused {
            Some(refused) if priority <= refused => Err(Failure::new(
                Kind::Unavailable,
                format!(
                    "disk of this server is nearly full ({} MiB free): {} stopped below {} MiB; it goes on once there is space",
                    status.free / MIB,
                    name(priority),
                    self.marks.mark(priority) / MIB,
                ),
            )),
            _ => Ok(()),
        }
    }

    fn make_reserve(&self) {
        let path = self.dir.join(RESERVE_FILE);
        let wanted = self.marks.reserve;
        if wanted == 0 || std::fs::metadata(&path).is_ok_and(|found| found.len() == wanted) {
            return;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let made = options.open(&path).and_then(|file| allocate(&file, wanted));
        if let Err(error) = made {
            tracing::warn!(%error, path = %path.display(), "no reserve of space could be made");
        }
    }
}

/// What stops, in words.
pub(crate) const fn name(priority: Priority) -> &'static str {
    match priority {
        Priority::Stranger => "records of what strangers ask for",
        Priority::Issuance => "issuance",
        Priority::Admin => "changes by administrators",
        Priority::Vital => "everything",
    }
}

/// Where the file system cannot reserve space, there is none.
fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)
        .map_err(std::io::Error::from)
}

/// Gives the reserve in `dir` up; whether there was one.
pub(crate) fn release_reserve(dir: &Path) -> bool {
    std::fs::remove_file(dir.join(RESERVE_FILE)).is_ok()
}

/// Free bytes on the file system of `dir`, if that can be told.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Watermarks = Watermarks {
        strangers: 192 * MIB,
        issuance: 96 * MIB,
        reserve: 32 * MIB,
    };

    fn admitted(disk: &Disk) -> Vec<Priority> {
        let all = Priority::ALL.into_iter();
        all.filter(|priority| disk.admit(*priority).is_ok())
            .collect()
    }

    #[test]
    fn c10_what_strangers_cause_stops_first_and_what_is_vital_never() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path(), MARKS);
        let [_, issuance, admin, vital] = Priority::ALL;
        for (free, expected) in [
            (192, Priority::ALL.to_vec()),
            (191, vec![issuance, admin, vital]),
            (95, vec![admin, vital]),
            (47, vec![vital]),
            (0, vec![vital]),
            // On the way back an eighth more is wanted.
            (50, vec![vital]),
            (55, vec![admin, vital]),
            (110, vec![issuance, admin, vital]),
            (220, Priority::ALL.to_vec()),
        ] {
            disk.note(free * MIB);
            assert_eq!(admitted(&disk), expected, "{free} MiB free");
        }
        disk.note(50 * MIB);
        let refused = disk.admit(issuance).unwrap_err();
        assert!(refused.message().contains("50 MiB free"), "{refused}");
    }

    #[test]
    fn c10_the_reserve_is_made_while_there_is_space_and_given_up_once() {
        let dir = tempfile::tempdir().unwrap();
        let marks = Watermarks {
            strangers: MIB,
            issuance: MIB,
            reserve: MIB,
        };
        let _disk = Disk::new(dir.path(), marks);
        let reserve = dir.path().join(RESERVE_FILE);
        assert_eq!(std::fs::metadata(&reserve).unwrap().len(), MIB);
        assert!(release_reserve(dir.path()));
        assert!(!release_reserve(dir.path()));
    }
}
