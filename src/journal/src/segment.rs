//! A segment file: a checked header that links it to the segment before, two slots for
//! the commit mark, then records.
//!
//! The mark says up to where records were acknowledged. It is written after each sync
//! and reaches the disk with the next one, so after a crash it never claims too much.
//! It is what tells a torn tail, which may be cut, from damage, which may not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use crate::{Fault, Head, JournalError};

const MAGIC: [u8; 8] = *b"BULLAJN1";
const HEADER_BYTES: usize = 8 + 8 + 32 + 32;
/// Where the records begin, in bytes; one page, so that header and records never share one.
pub(crate) const DATA_START: u64 = 4096;
/// The mark slots, in bytes; sectors of their own, so that a torn write harms one at most.
const MARK_SLOTS: [u64; 2] = [1024, 2048];
const MARK_BYTES: usize = 8 + 32;
const EXTENSION: &str = "journal";

/// What the header says, once its check value has been verified.
#[derive(Clone, Copy)]
pub(crate) struct SegmentHeader {
    /// The record before the first one of this segment.
    pub(crate) before: Head,
    /// What record 1 is chained to.
    pub(crate) origin: [u8; 32],
}

impl SegmentHeader {
    pub(crate) fn first_seq(&self) -> u64 {
        self.before.seq.saturating_add(1)
    }

    /// Writes the header and a first mark into a new file.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 32);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.first_seq().to_le_bytes());
        bytes.extend_from_slice(&self.before.hash);
        bytes.extend_from_slice(&self.origin);
        let check = digest(&SHA256, &bytes);
        bytes.extend_from_slice(check.as_ref());
        file.write_all_at(&bytes, 0)?;
        write_mark(file, &self.before, false)
    }

    /// Reads and checks the header.
    pub(crate) fn read(file: &File, path: &Path) -> Result<Self, JournalError> {
        let mut bytes = [0; HEADER_BYTES + 32];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(JournalError::io("read", path)(error));
            }
            _ => {}
        }
        Self::decode(&bytes).ok_or_else(|| {
            let seq = seq_of(path).unwrap_or(0);
            Fault {
                seq,
                file: path.to_owned(),
                offset: 0,
                what: "segment header is damaged",
            }
            .into()
        })
    }

    fn decode(bytes: &[u8; HEADER_BYTES + 32]) -> Option<Self> {
        let (header, check) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        (digest(&SHA256, header).as_ref() == check).then_some(())?;
        let rest = header.strip_prefix(&MAGIC)?;
        let (first_seq, rest) = rest.split_first_chunk::<8>()?;
        let (hash, origin) = rest.split_first_chunk::<32>()?;
        let seq = u64::from_le_bytes(*first_seq).checked_sub(1)?;
        Some(Self {
            before: Head { seq, hash: *hash },
            origin: origin.try_into().ok()?,
        })
    }
}

/// Writes the mark into one of the two slots; callers alternate.
pub(crate) fn write_mark(file: &File, head: &Head, second: bool) -> io::Result<()> {
    let mut bytes = [0; MARK_BYTES + 32];
    let (mark, check) = bytes.split_at_mut(MARK_BYTES);
    let (seq, hash) = mark.split_at_mut(8);
    seq.copy_from_slice(&head.seq.to_le_bytes());
    hash.copy_from_slice(&head.hash);
    check.copy_from_slice(digest(&SHA256, mark).as_ref());
    let [first_slot, second_slot] = MARK_SLOTS;
    file.write_all_at(&bytes, if second { second_slot } else { first_slot })
}

/// The newer of the two marks that pass their check; `None` if neither does.
pub(crate) fn read_mark(file: &File) -> Option<Head> {
    let read_slot = |slot| {
        let mut bytes = [0; MARK_BYTES + 32];
        file.read_exact_at(&mut bytes, slot).ok()?;
        let (mark, check) = bytes.split_first_chunk::<MARK_BYTES>()?;
        (digest(&SHA256, mark).as_ref() == check).then_some(())?;
        let (seq, hash) = mark.split_first_chunk::<8>()?;
        Some(Head {
            seq: u64::from_le_bytes(*seq),
            hash: hash.try_into().ok()?,
        })
    };
    MARK_SLOTS
        .into_iter()
        .filter_map(read_slot)
        .max_by_key(|mark| mark.seq)
}

/// The file of the segment whose first record is `first_seq`.
pub(crate) fn path_of(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:020}.{EXTENSION}"))
}

/// The first record's number, from the file name.
pub(crate) fn seq_of(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    let well_formed = path.extension()? == EXTENSION && stem.len() == 20;
    well_formed.then(|| stem.parse().ok()).flatten()
}

/// The segment files of a journal, oldest first.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(JournalError::io("list", dir))? {
        let path = entry.map_err(JournalError::io("list", dir))?.path();
        if seq_of(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Opens a segment for reading and writing, readable by its owner only.
pub(crate) fn open_file(path: &Path, create: bool) -> Result<File, JournalError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(create)
        .truncate(create)
        .mode(0o600);
    options.open(path).map_err(JournalError::io("open", path))
}

/// Whether anything but preallocated zeros lies from `start` to `end`.
pub(crate) fn has_data(path: &Path, start: u64, end: u64) -> Result<bool, JournalError> {
    let mut file = File::open(path).map_err(JournalError::io("open", path))?;
    file.seek(SeekFrom::Start(start))
        .map_err(JournalError::io("read", path))?;
    let mut rest = BufReader::new(file).take(end.saturating_sub(start));
    loop {
        let chunk = rest.fill_buf().map_err(JournalError::io("read", path))?;
        if chunk.is_empty() {
            return Ok(false);
        }
        if chunk.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        let length = chunk.len();
        rest.consume(length);
    }
}

/// Removes what a crash while making a segment left behind.
pub(crate) fn remove_temporary(dir: &Path) -> Result<(), JournalError> {
    let path = temporary(dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JournalError::io("remove", &path)(error))
        }
        _ => Ok(()),
    }
}

/// Where the next segment is made, before it gets its name.
pub(crate) fn temporary(dir: &Path) -> PathBuf {
    dir.join("next.tmp")
}

/// Makes renames and new names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(JournalError::io("sync", dir))
}
