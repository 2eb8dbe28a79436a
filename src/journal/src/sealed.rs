//! Segments that are no longer written: what can be archived, and removed in the end.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::anchor::{self, Anchor};
use crate::segment::{self, SegmentHeader};
use crate::{Head, JournalError, verify};

/// A segment that is no longer written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its file.
    pub path: PathBuf,
    /// The record before its first one.
    pub before: Head,
    /// Its last record, as the segment after it says.
    pub last: Head,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// The sealed segments of the journal in `dir`, oldest first.
///
/// # Errors
/// [`JournalError::Io`] if the files cannot be read, [`JournalError::Damaged`] if a header
/// is not what was written.
pub fn sealed(dir: &Path) -> Result<Vec<Sealed>, JournalError> {
    let paths = segment::list(dir)?;
    let mut found: Vec<Sealed> = Vec::new();
    for path in paths {
        let file = File::open(&path).map_err(JournalError::io("open", &path))?;
        let header = SegmentHeader::read(&file, &path)?;
        let metadata = file
            .metadata()
            .map_err(JournalError::io("inspect", &path))?;
        if let Some(previous) = found.last_mut() {
            previous.last = header.before;
        }
        found.push(Sealed {
            path,
            before: header.before,
            last: header.before,
            bytes: metadata.len(),
        });
    }
    // The newest is still written.
    found.pop();
    Ok(found)
}

/// Up to which record everything is archived, as far as was noted.
///
/// # Errors
/// [`JournalError::Io`] or [`JournalError::Damaged`] if the note cannot be read.
pub fn archived(dir: &Path) -> Result<Option<Head>, JournalError> {
    anchor::read(dir, Anchor::Archived)
}

/// Up to which record segments were removed, if any was.
///
/// # Errors
/// [`JournalError::Io`] or [`JournalError::Damaged`] if the note cannot be read.
pub fn removed(dir: &Path) -> Result<Option<Head>, JournalError> {
    anchor::read(dir, Anchor::Removed)
}

/// Notes that everything up to a record is archived. It must be the last record of a
/// sealed segment.
///
/// # Errors
/// [`JournalError::Damaged`] if no sealed segment ends with it, [`JournalError::Io`] if the
/// file system refuses.
pub fn note_archived(dir: &Path, head: &Head) -> Result<(), JournalError> {
    if sealed(dir)?.iter().any(|segment| segment.last == *head) {
        return anchor::write(dir, Anchor::Archived, head);
    }
    let what = "no segment that is no longer written ends with this record and hash";
    Err(verify::fault(dir, head.seq, what).into())
}

/// Removes the sealed segments that end at or before record `through`; returns how many.
/// First it is written down up to where, so that what is left can still be verified. The
/// journal may be open meanwhile: only segments that are no longer written are touched.
///
/// # Errors
/// [`JournalError::InUse`] if somebody else removes segments now, [`JournalError::Io`] if
/// the file system refuses; it may be called again.
pub fn remove_through(dir: &Path, through: u64) -> Result<usize, JournalError> {
    let only_one = File::open(dir).map_err(JournalError::io("open", dir))?;
    match only_one.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(JournalError::InUse),
        Err(TryLockError::Error(error)) => return Err(JournalError::io("lock", dir)(error)),
    }
    let all = sealed(dir)?;
    let over: Vec<&Sealed> = all
        .iter()
        .take_while(|segment| segment.last.seq <= through)
        .collect();
    let Some(newest) = over.last() else {
        return Ok(0);
    };
    anchor::write(dir, Anchor::Removed, &newest.last)?;
    // The oldest first: whatever stops this leaves a chain without a gap.
    for segment in &over {
        fs::remove_file(&segment.path).map_err(JournalError::io("remove", &segment.path))?;
    }
    segment::sync_dir(dir)?;
    Ok(over.len())
}
