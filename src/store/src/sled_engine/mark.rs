//! The mark: a small file beside sled's that says up to where commits were acknowledged.
//!
//! sled may lose the end of its log to a flipped bit and open as if nothing had happened;
//! the state is then consistent, but old. The mark is written after each group's sync and
//! before its answers, so it never claims too much, and an older store is noticed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::options::OpenError;
use super::seal::Sealer;
use crate::Position;

/// Two slots, in sectors of their own, written in turn: a torn write harms one at most.
const SLOTS: [u64; 2] = [0, 512];
const TAG_BYTES: usize = 16;

pub(super) struct Mark {
    file: File,
    second: bool,
}

impl Mark {
    /// Opens the file; makes it if this store is new.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(path).map_err(OpenError::io("open", path))?;
        Ok(Self {
            file,
            second: false,
        })
    }

    /// The newest authentic mark; `None` if there is none.
    pub(super) fn read(&self, sealer: &Sealer) -> Option<Position> {
        let read_slot = |slot| {
            let mut bytes = [0; Position::ENCODED_BYTES + TAG_BYTES];
            self.file.read_exact_at(&mut bytes, slot).ok()?;
            let (position, tag) = bytes.split_first_chunk::<{ Position::ENCODED_BYTES }>()?;
            (sealer.mac(b"mark", &[position]).0 == tag).then(|| Position::from_bytes(position))?
        };
        // A new incarnation begins with a higher revision than the one before.
        SLOTS
            .into_iter()
            .filter_map(read_slot)
            .max_by_key(|position| position.revision)
    }

    pub(super) fn write(&mut self, position: Position, sealer: &Sealer) -> io::Result<()> {
        let [first, second] = SLOTS;
        let slot = if self.second { second } else { first };
        self.second = !self.second;
        let mut bytes = position.to_bytes().to_vec();
        bytes.extend_from_slice(&sealer.mac(b"mark", &[&position.to_bytes()]).0);
        self.file.write_all_at(&bytes, slot)
    }

    /// Writes both slots and makes them durable.
    pub(super) fn set(&mut self, position: Position, sealer: &Sealer) -> io::Result<()> {
        self.write(position, sealer)?;
        self.file.sync_all()?;
        self.write(position, sealer)?;
        self.file.sync_all()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
