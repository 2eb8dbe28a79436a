//! Copies of sealed segments in another folder, and a chain verified across both.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::scan::Scan;
use crate::segment::{self, sync_dir};
use crate::verify::{self, Tail, Verified, verify_segment};
use crate::{Head, JournalError, Sealed, sealed};

/// How far archiving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of the last record that is archived and verified.
    pub through: u64,
    /// Segments done, those that were archived before included.
    pub segments: usize,
    /// Segments there are.
    pub of: usize,
}

/// Copies the sealed segments of the journal in `dir` that end after record `after` to the
/// folder `to`, oldest first, and verifies each copy. What is there already is verified and
/// kept, so that an interrupted run goes on where it was. Returns the last archived record.
///
/// `each` is told of every segment; it returns false to stop early.
///
/// # Errors
/// [`JournalError::Damaged`] when a segment, its copy, or the archive it would continue is
/// not whole; [`JournalError::Full`] and [`JournalError::Io`] when the copy cannot be made.
pub fn archive(
    dir: &Path,
    to: &Path,
    after: u64,
    mut each: impl FnMut(Progress) -> bool,
) -> Result<Option<Head>, JournalError> {
    let incoming = to.join("incoming");
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(&incoming)
        .map_err(JournalError::no_space("create", &incoming))?;
    let all = sealed(dir)?;
    let mut last = None;
    let mut first = true;
    for (segment, segments) in all.iter().zip(1..) {
        if segment.last.seq > after {
            if first {
                check_continues(to, segment)?;
                first = false;
            }
            copy(segment, to, &incoming)?;
        }
        last = Some(segment.last);
        let progress = Progress {
            through: segment.last.seq,
            segments,
            of: all.len(),
        };
        if !each(progress) {
            break;
        }
    }
    Ok(last)
}

/// Refuses to put a segment into another journal's archive, or behind a gap.
fn check_continues(to: &Path, segment: &Sealed) -> Result<(), JournalError> {
    let older = segment::list(to)?;
    let before = older
        .iter()
        .rev()
        .find(|path| segment::seq_of(path).is_some_and(|seq| seq <= segment.before.seq));
    let Some(path) = before else {
        return Ok(());
    };
    let newest = verify_segment(path, None, &[], Tail::Exact)?;
    if newest.at() == segment.before {
        return Ok(());
    }
    let what = "the archive does not end where this journal goes on";
    Err(newest.fault(what).into())
}

/// Copies one segment under another name, verifies the copy, and gives it its name.
fn copy(segment: &Sealed, to: &Path, incoming: &Path) -> Result<(), JournalError> {
    let name = segment.path.file_name().unwrap_or_default();
    let (target, part) = (to.join(name), incoming.join(name));
    if target.exists() {
        return check_copy(segment, &target);
    }
    let source = &segment.path;
    let mut from = File::open(source).map_err(JournalError::io("open", source))?;
    let mut file = segment::open_file(&part, true)?;
    io::copy(&mut from, &mut file).map_err(JournalError::no_space("write", &part))?;
    file.sync_all()
        .map_err(JournalError::no_space("sync", &part))?;
    check_copy(segment, &part)?;
    fs::rename(&part, &target).map_err(JournalError::io("publish", &target))?;
    sync_dir(to)
}

fn check_copy(segment: &Sealed, path: &Path) -> Result<(), JournalError> {
    let walked = verify_segment(path, Some(segment.before), &[], Tail::Exact)?;
    if walked.at() == segment.last {
        return Ok(());
    }
    Err(walked
        .fault("the copy does not end as the segment does")
        .into())
}

/// Verifies an archive and, with `dir`, that the journal there goes on from it.
///
/// `known` is a head that was kept elsewhere, as for [`crate::verify`].
///
/// # Errors
/// As for [`crate::verify`]; records missing between the two are damage.
pub fn verify_archive(
    archive: &Path,
    dir: Option<&Path>,
    known: Option<&Head>,
) -> Result<Verified, JournalError> {
    let segments = segment::list(archive)?;
    let Some(first) = segments.first() else {
        return Err(fault(archive, 1, "no segment here"));
    };
    let header = *Scan::open(first)?.header();
    let known_heads: Vec<Head> = known.copied().into_iter().collect();
    let mut at = header.before;
    for path in &segments {
        at = verify_segment(path, Some(at), &known_heads, Tail::Exact)?.at();
    }
    if let Some(dir) = dir {
        at = follow(dir, at, header.origin, &known_heads)?;
    }
    let verified = Verified {
        before: header.before,
        head: at,
        origin: header.origin,
    };
    verified.check_known(known, dir.unwrap_or(archive))?;
    Ok(verified)
}

/// Walks the journal in `dir` from where an archive ends.
fn follow(
    dir: &Path,
    archived: Head,
    origin: [u8; 32],
    known: &[Head],
) -> Result<Head, JournalError> {
    let segments = segment::list(dir)?;
    // What the archive holds as a whole is not read twice.
    let archived_whole = segments
        .iter()
        .skip(1)
        .take_while(|path| {
            segment::seq_of(path).is_some_and(|seq| seq <= archived.seq.saturating_add(1))
        })
        .count();
    let rest = segments.get(archived_whole..).unwrap_or_default();
    let Some((newest, closed)) = rest.split_last() else {
        return Err(fault(dir, 1, "no segment here"));
    };
    let first = Scan::open(closed.first().unwrap_or(newest))?;
    if first.header().origin != origin {
        return Err(first
            .fault("journal and archive have different origins")
            .into());
    }
    let before = first.header().before;
    if before.seq > archived.seq || (before.seq == archived.seq && before != archived) {
        let seq = archived.seq.saturating_add(1);
        return Err(fault(
            dir,
            seq,
            "the journal does not go on where the archive ends",
        ));
    }
    let mut heads = known.to_vec();
    heads.push(archived);
    let mut at = before;
    for path in closed {
        at = verify_segment(path, Some(at), &heads, Tail::Exact)?.at();
    }
    let head = verify_segment(newest, Some(at), &heads, Tail::Open)?.at();
    if head.seq < archived.seq {
        return Err(fault(
            dir,
            head.seq.saturating_add(1),
            "record is missing: it is in the archive",
        ));
    }
    Ok(head)
}

fn fault(file: &Path, seq: u64, what: &'static str) -> JournalError {
    verify::fault(file, seq, what).into()
}
