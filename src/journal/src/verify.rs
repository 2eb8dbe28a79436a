//! Checking a whole journal offline: nothing edited, deleted, reordered, inserted, and,
//! against a head that was kept elsewhere, nothing cut off.

use std::path::Path;

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

/// Verifies a complete journal, from record 1 to its newest record.
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
    let segments = segment::list(dir)?;
    let fault = |seq, what| {
        JournalError::from(Fault {
            seq,
            file: dir.to_owned(),
            offset: 0,
            what,
        })
    };
    let Some((newest, closed)) = segments.split_last() else {
        return Err(fault(1, "no segment here"));
    };
    let first = Scan::open(segments.first().unwrap_or(newest))?;
    let (before, origin) = (first.header().before, first.header().origin);
    let expected = archived.copied().unwrap_or(Head {
        seq: 0,
        hash: origin,
    });
    if before != expected {
        let seq = expected.seq.saturating_add(1);
        return Err(fault(seq, "the oldest segment does not begin here"));
    }
    let mut at = before;
    for path in closed {
        at = verify_segment(path, Some(at), known, Tail::Exact)?.at();
    }
    let head = verify_segment(newest, Some(at), known, Tail::Open)?.at();
    match known {
        Some(known) if known.seq > head.seq => Err(fault(
            head.seq.saturating_add(1),
            "record is missing: the tail was cut",
        )),
        Some(known) if *known == before || known.seq > before.seq => Ok(Verified {
            before,
            head,
            origin,
        }),
        Some(known) => Err(fault(
            known.seq,
            "record is archived and cannot be compared",
        )),
        None => Ok(Verified {
            before,
            head,
            origin,
        }),
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

/// Verifies one segment, which must continue `at` if that is known; returns the walk at its end.
pub(crate) fn verify_segment(
    path: &Path,
    at: Option<Head>,
    known: Option<&Head>,
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
        if known.is_some_and(differs) || mark.as_ref().is_some_and(differs) {
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
