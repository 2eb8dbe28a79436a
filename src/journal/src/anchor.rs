//! Files that each hold one head: up to where records were removed, and up to where they
//! are archived. The oldest segment that is left must continue what was removed, so that a
//! missing segment is told from one whose time was over.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use crate::segment::{open_file, sync_dir};
use crate::{Fault, Head, JournalError};

const MAGIC: [u8; 8] = *b"BULLAJA1";
const BODY_BYTES: usize = 8 + 8 + 32;

/// What a head stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The newest record that was removed.
    Removed,
    /// The newest record that is archived.
    Archived,
}

impl Anchor {
    fn path_in(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Removed => "removed",
            Self::Archived => "archived",
        })
    }
}

/// The head, if there is one.
///
/// # Errors
/// [`JournalError::Damaged`] when the file is not what was written.
pub(crate) fn read(dir: &Path, anchor: Anchor) -> Result<Option<Head>, JournalError> {
    let path = anchor.path_in(dir);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(JournalError::io("open", &path))?,
    };
    let mut bytes = Vec::new();
    // One more than a whole file has, to see that it is no longer than that.
    let most = u64::try_from(BODY_BYTES).unwrap_or(0).saturating_add(33);
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(JournalError::io("read", &path))?;
    let damaged = || Fault {
        seq: 0,
        file: path.clone(),
        offset: 0,
        what: "the note of what was removed or archived is damaged",
    };
    decode(&bytes).map(Some).ok_or_else(|| damaged().into())
}

fn decode(bytes: &[u8]) -> Option<Head> {
    let (body, check) = bytes.split_first_chunk::<BODY_BYTES>()?;
    (digest(&SHA256, body).as_ref() == check).then_some(())?;
    let (seq, hash) = body.strip_prefix(&MAGIC)?.split_first_chunk::<8>()?;
    Some(Head {
        seq: u64::from_le_bytes(*seq),
        hash: hash.try_into().ok()?,
    })
}

/// Says, durably, that everything up to `head` is removed (or about to be), or archived.
///
/// # Errors
/// [`JournalError::Io`] if the file system refuses; the old file then still stands.
pub(crate) fn write(dir: &Path, anchor: Anchor, head: &Head) -> Result<(), JournalError> {
    let path = anchor.path_in(dir);
    let beside = path.with_extension("tmp");
    let mut bytes = Vec::with_capacity(BODY_BYTES + 32);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&head.seq.to_le_bytes());
    bytes.extend_from_slice(&head.hash);
    let check = digest(&SHA256, &bytes);
    bytes.extend_from_slice(check.as_ref());
    let file = open_file(&beside, true)?;
    belong_to_owner(dir, &file).map_err(JournalError::io("own", &beside))?;
    io::Write::write_all(&mut &file, &bytes).map_err(JournalError::io("write", &beside))?;
    file.sync_all().map_err(JournalError::io("sync", &beside))?;
    fs::rename(&beside, &path).map_err(JournalError::io("publish", &path))?;
    sync_dir(dir)
}

/// Gives a file to whoever owns the journal: an administrator may write it, too.
fn belong_to_owner(dir: &Path, file: &File) -> io::Result<()> {
    let (wanted, found) = (fs::metadata(dir)?, file.metadata()?);
    if (wanted.uid(), wanted.gid()) == (found.uid(), found.gid()) {
        return Ok(());
    }
    fchown(file, Some(wanted.uid()), Some(wanted.gid()))
}
