//! The segment being written: space ahead, group writes, sync, mark, rotation.
//!
//! Space is reserved with fallocate when a segment is made and filled with zeros a
//! mebibyte ahead, so that the sync of a group has data to flush and no metadata.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::segment::{self, DATA_START, SegmentHeader, temporary};
use crate::{Head, JournalError, Options};

/// How far ahead of the records zeros are written, in pieces of [`ZEROS`]: a mebibyte.
const PIECES_AHEAD: usize = 16;
/// A piece of nothing. Never written to, so it takes no memory.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

pub(crate) struct Writer {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    origin: [u8; 32],
    segment_bytes: u64,
    head: Head,
    /// Where the next record goes.
    offset: u64,
    /// Up to where zeros are in place.
    zeroed: u64,
    second_slot: bool,
    #[cfg(feature = "planted-faults")]
    fault: crate::fault::Countdown,
}

impl Writer {
    /// Makes the first segment of a new journal.
    pub(crate) fn create(dir: &Path, options: &Options) -> Result<Self, JournalError> {
        let before = Head {
            seq: 0,
            hash: options.origin,
        };
        let prepared = prepare(
            dir,
            SegmentHeader {
                before,
                origin: options.origin,
            },
            options,
        )?;
        let path = segment::path_of(dir, 1);
        publish(dir, &path)?;
        Ok(Self::at(dir, path, prepared, before, DATA_START, options))
    }

    /// Continues the newest segment after its last record. What lies beyond is cut off,
    /// and what is kept is made durable before anyone builds on it.
    pub(crate) fn resume(
        dir: &Path,
        path: PathBuf,
        head: Head,
        offset: u64,
        options: &Options,
    ) -> Result<Self, JournalError> {
        let file = segment::open_file(&path, false)?;
        file.set_len(offset)
            .map_err(JournalError::io("cut the torn tail of", &path))?;
        file.sync_all().map_err(JournalError::io("sync", &path))?;
        for second_slot in [false, true] {
            segment::write_mark(&file, &head, second_slot)
                .map_err(JournalError::io("mark", &path))?;
        }
        file.sync_all().map_err(JournalError::io("sync", &path))?;
        Ok(Self::at(dir, path, file, head, offset, options))
    }

    fn at(
        dir: &Path,
        path: PathBuf,
        file: File,
        head: Head,
        offset: u64,
        options: &Options,
    ) -> Self {
        Self {
            dir: dir.to_owned(),
            path,
            file,
            origin: options.origin,
            segment_bytes: options.segment_bytes,
            head,
            offset,
            zeroed: offset,
            second_slot: true,
            #[cfg(feature = "planted-faults")]
            fault: crate::fault::Countdown::new(options.fault),
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Makes the encoded records of a group durable; `head` is the last of them.
    ///
    /// [`JournalError::Full`] leaves no trace and may be tried again; after any other
    /// error nothing more may be written, since what is on disk is unknown.
    pub(crate) fn commit(&mut self, group: &[u8], head: Head) -> Result<(), JournalError> {
        self.make_room(group.len())?;
        let end = self
            .offset
            .saturating_add(u64::try_from(group.len()).unwrap_or(u64::MAX));
        if let Err(error) = self.file.write_all_at(group, self.offset) {
            return Err(match JournalError::no_space("write", &self.path)(error) {
                JournalError::Full => self.retract()?,
                error => error,
            });
        }
        self.sync().map_err(JournalError::io("sync", &self.path))?;
        segment::write_mark(&self.file, &head, self.second_slot)
            .map_err(JournalError::io("mark", &self.path))?;
        self.second_slot = !self.second_slot;
        (self.head, self.offset) = (head, end);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        #[cfg(feature = "planted-faults")]
        self.fault.sync()?;
        self.file.sync_data()
    }

    /// Takes back a partly written group, so that no part of it is ever seen.
    fn retract(&mut self) -> Result<JournalError, JournalError> {
        self.file
            .set_len(self.offset)
            .map_err(JournalError::io("retract from", &self.path))?;
        self.file
            .sync_all()
            .map_err(JournalError::io("sync", &self.path))?;
        self.zeroed = self.offset;
        Ok(JournalError::Full)
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), JournalError> {
        #[cfg(feature = "planted-faults")]
        self.fault
            .allocate()
            .map_err(JournalError::no_space("allocate", &self.path))?;
        if self.offset >= self.segment_bytes {
            self.rotate()?;
        }
        let end = self
            .offset
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        while self.zeroed < end {
            for _ in 0..PIECES_AHEAD {
                self.file
                    .write_all_at(&ZEROS, self.zeroed)
                    .map_err(JournalError::no_space("extend", &self.path))?;
                self.zeroed = self
                    .zeroed
                    .saturating_add(u64::try_from(ZEROS.len()).unwrap_or(0));
            }
        }
        Ok(())
    }

    /// The next segment is complete before the old one is closed, and gets its name last:
    /// a crash at any point leaves a journal that opens.
    fn rotate(&mut self) -> Result<(), JournalError> {
        let header = SegmentHeader {
            before: self.head,
            origin: self.origin,
        };
        let options = Options {
            segment_bytes: self.segment_bytes,
            ..Options::default()
        };
        let next = prepare(&self.dir, header, &options)?;
        self.close()?;
        let path = segment::path_of(&self.dir, header.first_seq());
        publish(&self.dir, &path)?;
        (self.path, self.file) = (path, next);
        (self.offset, self.zeroed, self.second_slot) = (DATA_START, DATA_START, true);
        Ok(())
    }

    /// Gives unused space back and makes everything, the mark included, durable.
    pub(crate) fn close(&mut self) -> Result<(), JournalError> {
        self.file
            .set_len(self.offset)
            .map_err(JournalError::io("close", &self.path))?;
        self.zeroed = self.offset;
        self.file
            .sync_all()
            .map_err(JournalError::io("sync", &self.path))
    }
}

/// A new segment under a temporary name, with its space reserved and its header durable.
fn prepare(dir: &Path, header: SegmentHeader, options: &Options) -> Result<File, JournalError> {
    let path = temporary(dir);
    let file = segment::open_file(&path, true)?;
    match fallocate(
        &file,
        FallocateFlags::empty(),
        0,
        options.segment_bytes.max(DATA_START),
    ) {
        // Not every file system can; the zeros written ahead then find out about space.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(JournalError::no_space("allocate", &path)(error.into())),
    }
    // Not in use yet: a full disk here leaves no trace, even if the sync finds it.
    header
        .write(&file)
        .map_err(JournalError::no_space("write", &path))?;
    file.sync_all()
        .map_err(JournalError::no_space("sync", &path))?;
    Ok(file)
}

fn publish(dir: &Path, path: &Path) -> Result<(), JournalError> {
    fs::rename(temporary(dir), path).map_err(JournalError::io("publish", path))?;
    segment::sync_dir(dir)
}
