//! `bulla audit archive`: copies what is no longer written to a folder, verifies each
//! copy, and removes the originals if asked. It reads the journal's own folder, so it can
//! be run by whoever owns the machine, and by nobody over the network.

use std::io::IsTerminal as _;
use std::path::Path;

use journal::JournalError;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Output;

/// Archives, and removes what is archived if asked.
///
/// # Errors
/// The folders cannot be read or written, or a segment or its copy is damaged.
pub(super) fn run(dir: &Path, to: &Path, remove: bool, out: &mut Output) -> Result<(), Failure> {
    let shows = !out.is_json() && std::io::stdout().is_terminal();
    let mut told = Ok(());
    let mut segments = 0;
    let copied = journal::archive(dir, to, 0, |at| {
        segments = at.segments;
        if shows {
            told = out.line(format!(
                "archived segment {} of {}, up to record {}",
                at.segments, at.of, at.through
            ));
        }
        told.is_ok()
    });
    let last = copied.map_err(|error| refused(&error))?;
    told?;
    let Some(last) = last else {
        return report(
            out,
            (0, 0, 0),
            "no segment is sealed yet: there is nothing to archive",
        );
    };
    journal::note_archived(dir, &last).map_err(|error| refused(&error))?;
    let removed = if remove {
        journal::remove_through(dir, last.seq).map_err(|error| refused(&error))?
    } else {
        0
    };
    let what = format!(
        "archived: {segments} segments up to record {}; removed: {removed}",
        last.seq
    );
    report(out, (segments, last.seq, removed), &what)
}

fn report(
    out: &mut Output,
    (segments, through, removed): (usize, u64, usize),
    what: &str,
) -> Result<(), Failure> {
    if out.is_json() {
        let report = json!({ "segments": segments, "through": through, "removed": removed });
        return Ok(out.document(&report)?);
    }
    Ok(out.line(what)?)
}

fn refused(error: &JournalError) -> Failure {
    let cause = std::error::Error::source(error);
    let text = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    let next = match error {
        JournalError::Damaged(_) => {
            "compare both copies of the segment, and remove none before `bulla audit verify` is content"
        }
        JournalError::InUse => "somebody removes segments right now; run it again",
        _ => {
            "run it as root or as the server's user, with --dir at the folder `journal` of its data_dir"
        }
    };
    Failure::refused(text).next(next)
}
