//! Checking a whole journal offline: nothing edited, deleted, reordered, inserted, and,
//! against a head that was kept elsewhere, nothing cut off.

use std::path::Path;

use crate::anchor::{self, Anchor};
use crate::scan::{Scan, Step};
use crate::segment;
use crate::{Fault, Head, JournalError};

/// What was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The record before the first one on disk; seq 0 for a complete journal.
    pub before: Head,
    /// The newest record.
    pub head: Head,
    /// What record 1 is chained to.
    pub origin: [u8; 32],
}

/// Verifies a journal, from its oldest record to its newest one. The oldest is record 1, or
/// the one after those that were removed in order.
///
/// `known` is a head that was kept elsewhere: without one, a cut tail is found only as
/// far as the local commit mark shows it, which whoever cuts a tail can cut as well.
///
/// # Errors
/// [`JournalError::Damaged`] names the first record that cannot be vouched for;
/// [`JournalError::Io`] if the files cannot be read.
pub fn verify(dir: &Path, known: Option<&Head>) -> Result<Verified, JournalError> {
    verify_chain(dir, None, known)
}

/// Verifies a journal whose records up to `archived` were moved elsewhere.
///
/// # Errors
/// As for [`verify`].
pub fn verify_archived(
    dir: &Path,
    archived: &Head,
    known: Option<&Head>,
) -> Result<Verified, JournalError> {
    verify_chain(dir, Some(archived), known)
}

fn verify_chain(
    dir: &Path,
    archived: Option<&Head>,
    known: Option<&Head>,
) -> Result<Verified, JournalError> {
    let removed = anchor::read(dir, Anchor::Removed)?;
    let segments = segment::list(dir)?;
    let fault = |seq, what| JournalError::from(fault(dir, seq, what));
    let Some((newest, closed)) = segments.split_last() else {
        return Err(fault(1, "no segment here"));
    };
    let first = Scan::open(segments.first().unwrap_or(newest))?;
    let (before, origin) = (first.header().before, first.header().origin);
    let start = Head {
        seq: 0,
        hash: origin,
    };
    let expected = archived.copied().or(removed).unwrap_or(start);
    // A removal that was interrupted leaves segments that it has written off already.
    let is_late = archived.is_none() && before.seq < expected.seq;
    if before != expected && !is_late {
        let seq = expected.seq.saturating_add(1);
        return Err(fault(seq, "the oldest segment does not begin here"));
    }
    let mut heads: Vec<Head> = known.copied().into_iter().collect();
    heads.extend(is_late.then_some(expected));
    let mut at = before;
    for path in closed {
        at = verify_segment(path, Some(at), &heads, Tail::Exact)?.at();
    }
    let head = verify_segment(newest, Some(at), &heads, Tail::Open)?.at();
    let verified = Verified {
        before,
        head,
        origin,
    };
    verified.check_known(known, dir)?;
    Ok(verified)
}

impl Verified {
    /// Whether a head that was kept elsewhere was met on the way.
    pub(crate) fn check_known(&self, known: Option<&Head>, dir: &Path) -> Result<(), Fault> {
        match known {
            Some(known) if known.seq > self.head.seq => {
                let seq = self.head.seq.saturating_add(1);
                Err(fault(dir, seq, "record is missing: the tail was cut"))
            }
            Some(known) if *known != self.before && known.seq <= self.before.seq => {
                let what = "record is archived and cannot be compared";
                Err(fault(dir, known.seq, what))
            }
            _ => Ok(()),
        }
    }
}

/// A fault that is not at a place in one file.
pub(crate) fn fault(file: &Path, seq: u64, what: &'static str) -> Fault {
    Fault {
        seq,
        file: file.to_owned(),
        offset: 0,
        what,
    }
}

/// How a segment may end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// With its last record: a closed segment.
    Exact,
    /// Anyhow, if everything acknowledged is there: the segment being written.
    Open,
}

/// Verifies one segment, which must continue `at` if that is known and hold those of the
/// `known` heads that are in it; returns the walk at its end.
pub(crate) fn verify_segment(
    path: &Path,
    at: Option<Head>,
    known: &[Head],
    tail: Tail,
) -> Result<Scan, JournalError> {
    let mut scan = Scan::open(path)?;
    if at.is_some_and(|at| at != scan.header().before) {
        return Err(scan
            .fault("segment does not continue the one before")
            .into());
    }
    // Read first: a journal that is open moves its mark on while this walk reads.
    let mark = scan.mark();
    let end = scan.walk(|scan, stored| {
        let here = Head {
            seq: stored.seq,
            hash: stored.hash,
        };
        let differs = |head: &Head| head.seq == here.seq && head.hash != here.hash;
        if known.iter().any(differs) || mark.as_ref().is_some_and(differs) {
            let what = "record is not the one that was acknowledged";
            return Err(Fault {
                seq: here.seq,
                ..scan.fault(what)
            }
            .into());
        }
        Ok(())
    })?;
    check_end(&scan, &end, tail, mark)?;
    Ok(scan)
}

/// Whether a segment may end where the walk ended.
fn check_end(scan: &Scan, end: &Step, tail: Tail, mark: Option<Head>) -> Result<(), Fault> {
    let what = match end {
        Step::Broken(what) => what,
        _ => "record is missing",
    };
    match (tail, mark) {
        (Tail::Exact, _) if matches!(end, Step::End) => Ok(()),
        (Tail::Exact, _) => Err(scan.fault(what)),
        (Tail::Open, None) => Err(scan.fault("commit mark is damaged")),
        (Tail::Open, Some(mark)) if scan.at().seq < mark.seq => Err(scan.fault(what)),
        (Tail::Open, Some(_)) => Ok(()),
    }
}
