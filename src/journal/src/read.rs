//! Reading records back, from any number on, while the journal may still be growing.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::scan::{Scan, Step};
use crate::segment;
use crate::{Binding, Head, JournalError};

/// A record read back; the chain up to it, from the start of its segment, was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number, from 1.
    pub seq: u64,
    /// What it is about.
    pub binding: Binding,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// The hash of the record before.
    pub prev: [u8; 32],
    /// Its own chained hash.
    pub hash: [u8; 32],
}

/// Records in order; ends after the newest acknowledged one, or at the first fault.
pub struct Records {
    from_seq: u64,
    segments: VecDeque<PathBuf>,
    scan: Option<Scan>,
    /// The newest acknowledged record, as far as known; only the last segment has doubt.
    acknowledged: u64,
    /// The record before the next one; `None` until the first segment was opened.
    at: Option<Head>,
    ended: bool,
}

/// The acknowledged records of the journal in `dir` whose number is at least `from_seq`.
///
/// Safe while the journal is open elsewhere: it sees durable records only.
///
/// # Errors
/// [`JournalError::Io`] if the directory cannot be listed; faults come as items.
pub fn read(dir: &Path, from_seq: u64) -> Result<Records, JournalError> {
    let mut segments = VecDeque::from(segment::list(dir)?);
    // A segment is of no interest if the next one still begins at or before the wanted record.
    while segments
        .get(1)
        .and_then(|next| segment::seq_of(next))
        .is_some_and(|seq| seq <= from_seq)
    {
        segments.pop_front();
    }
    Ok(Records {
        from_seq,
        segments,
        scan: None,
        acknowledged: 0,
        at: None,
        ended: false,
    })
}

impl Records {
    fn advance(&mut self) -> Result<Option<Stored>, JournalError> {
        loop {
            let Some(scan) = &mut self.scan else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            let last = self.segments.is_empty();
            if last && scan.at().seq >= self.acknowledged {
                let mark = scan.mark().map_or(0, |mark| mark.seq);
                if mark <= self.acknowledged {
                    return Ok(None);
                }
                self.acknowledged = mark;
                scan.refresh()?;
            }
            match scan.step()? {
                Step::Record(stored) if stored.seq >= self.from_seq => return Ok(Some(stored)),
                Step::Record(_) => {}
                Step::End if !last => {
                    self.at = Some(scan.at());
                    self.scan = None;
                }
                Step::End => return Err(scan.fault("record is missing").into()),
                Step::Broken(what) => return Err(scan.fault(what).into()),
            }
        }
    }

    /// Opens the next segment, if there is one, and checks that it follows the last.
    fn open_next(&mut self) -> Result<bool, JournalError> {
        let Some(path) = self.segments.pop_front() else {
            return Ok(false);
        };
        let scan = match Scan::open(&path) {
            // Removed since the list was made: reading goes on with what is kept.
            Err(JournalError::Io { source, .. })
                if source.kind() == ErrorKind::NotFound && !self.segments.is_empty() =>
            {
                self.at = None;
                return Ok(true);
            }
            opened => opened?,
        };
        if self.at.is_some_and(|at| at != scan.header().before) {
            return Err(scan
                .fault("segment does not continue the one before")
                .into());
        }
        self.acknowledged = scan.header().before.seq;
        self.scan = Some(scan);
        Ok(true)
    }
}

impl Iterator for Records {
    type Item = Result<Stored, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.advance().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}
