//! Whether a folder is fit for private keys: only who writes them, the one they are
//! for, and root may put anything into it, or another folder in its place.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, geteuid};

use crate::failure::Failure;

const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Checks the folder and every folder above it, for files that belong to `owner`, if
/// not to who writes them.
///
/// # Errors
/// Says which folder others may change, and what to do about it.
pub(super) fn check(folder: &Path, owner: Option<Uid>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::refused(format!("cannot use {}: {error}", folder.display()))
    };
    let whole = folder.canonicalize().map_err(failed)?;
    let trusted = [Some(Uid::from_raw(0)), Some(geteuid()), owner];
    for (above, dir) in whole.ancestors().enumerate() {
        let found = std::fs::symlink_metadata(dir).map_err(failed)?;
        if !trusted.contains(&Some(Uid::from_raw(found.uid()))) {
            return Err(foreign(dir, found.uid(), above > 0));
        }
        let mode = found.mode();
        // In a sticky folder only owners rename and remove what is in it.
        if above > 0 && mode & STICKY != 0 {
            continue;
        }
        let who = match (mode & GROUP_WRITES, mode & ALL_WRITE) {
            (0, 0) => continue,
            (_, 0) => "its group",
            _ => "anybody",
        };
        return Err(open(dir, who));
    }
    Ok(())
}

fn foreign(dir: &Path, uid: u32, is_above: bool) -> Failure {
    let dir = dir.display();
    let what = if is_above {
        format!(
            "{dir}, above the folder, belongs to user {uid}, who could put another in its place"
        )
    } else {
        format!(
            "{dir} belongs to user {uid}, who could put another key in place of the one written"
        )
    };
    Failure::refused(what).next(format!(
        "choose a folder of your own below folders of root or yourself, or give the files to that user with --owner {uid}"
    ))
}

fn open(dir: &Path, who: &str) -> Failure {
    let dir = dir.display();
    Failure::refused(format!(
        "{who} may write into {dir}: a private key does not belong there"
    ))
    .next(format!("chmod go-w {dir}"))
}
