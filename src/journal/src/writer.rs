//! The segment being written: space ahead, group writes, sync, mark, rotation.
//!
//! Space is reserved with fallocate when a segment is made and filled with zeros a
//! mebibyte ahead, so that the sync of a group has data to flush and no metadata.
//!
//! The next segment is made while the current one is half full, and the directory stays
//! open: going on to the next one needs no descriptor and no space. Where it could not be
//! made, the current one simply grows.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::limits::PROBE_BYTES;
use crate::scan::{Scan, Step};
use crate::segment::{self, DATA_START, SegmentHeader, temporary};
use crate::{Head, JournalError, Options};

/// How far ahead of the records zeros are written, in pieces of [`ZEROS`]: a mebibyte.
const PIECES_AHEAD: usize = 16;
/// Space for a segment is reserved ahead only while so many times its size are free.
const PLENTY: u64 = 4;
/// A piece of nothing. Never written to, so it takes no memory.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

pub(crate) struct Writer {
    dir: PathBuf,
    /// The same, open: publishing a segment must not need a descriptor.
    dir_file: File,
    path: PathBuf,
    file: File,
    /// The next segment, with its space reserved and without its header.
    next: Option<File>,
    origin: [u8; 32],
    segment_bytes: u64,
    head: Head,
    /// Where the next record goes.
    offset: u64,
    /// Up to where zeros are in place.
    zeroed: u64,
    second_slot: bool,
    /// Whether something that was not acknowledged may lie behind the last record.
    torn: bool,
    /// Whether the name of the segment is known to be durable; until then nothing in it is.
    named: bool,
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
        let header = SegmentHeader {
            before,
            origin: options.origin,
        };
        let file = prepare(dir, options.segment_bytes.max(DATA_START))?;
        let path = segment::path_of(dir, 1);
        let dir_file = File::open(dir).map_err(JournalError::io("open", dir))?;
        begin(&file, &header, &temporary(dir))?;
        publish(dir, &dir_file, &path)?;
        Ok(Self::at(
            (dir, dir_file),
            (path, file),
            before,
            DATA_START,
            options,
        ))
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
        let dir_file = File::open(dir).map_err(JournalError::io("open", dir))?;
        let mut writer = Self::at((dir, dir_file), (path, file), head, offset, options);
        writer.cut()?;
        Ok(writer)
    }

    fn at(
        (dir, dir_file): (&Path, File),
        (path, file): (PathBuf, File),
        head: Head,
        offset: u64,
        options: &Options,
    ) -> Self {
        Self {
            dir: dir.to_owned(),
            dir_file,
            path,
            file,
            next: None,
            origin: options.origin,
            segment_bytes: options.segment_bytes.max(DATA_START),
            head,
            offset,
            zeroed: offset,
            second_slot: true,
            torn: false,
            named: true,
            #[cfg(feature = "planted-faults")]
            fault: crate::fault::Countdown::new(options.fault),
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Whether [`Writer::heal`] must come before the next commit.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Makes the encoded records of a group durable; `head` is the last of them.
    ///
    /// After an error nothing of it is acknowledged. [`Writer::is_torn`] tells whether
    /// something of it may be on disk all the same.
    pub(crate) fn commit(&mut self, group: &[u8], head: Head) -> Result<(), JournalError> {
        if group.is_empty() {
            return Ok(());
        }
        self.make_room(group.len())?;
        self.name()?;
        self.torn = true;
        if let Err(error) = self.file.write_all_at(group, self.offset) {
            self.retract()?;
            return Err(JournalError::no_space("write", &self.path)(error));
        }
        self.sync().map_err(JournalError::io("sync", &self.path))?;
        segment::write_mark(&self.file, &head, self.second_slot)
            .map_err(JournalError::io("mark", &self.path))?;
        self.torn = false;
        self.second_slot = !self.second_slot;
        self.offset = self
            .offset
            .saturating_add(u64::try_from(group.len()).unwrap_or(u64::MAX));
        self.head = head;
        if self.wants_next() {
            self.prepare_next();
        }
        Ok(())
    }

    /// Makes the name of a new segment durable.
    fn name(&mut self) -> Result<(), JournalError> {
        if !self.named {
            self.dir_file
                .sync_all()
                .map_err(JournalError::io("sync", &self.dir))?;
            self.named = true;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        #[cfg(feature = "planted-faults")]
        self.fault.sync()?;
        self.file.sync_data()
    }

    /// Takes back a partly written group, so that no part of it is ever seen.
    fn retract(&mut self) -> Result<(), JournalError> {
        self.file
            .set_len(self.offset)
            .map_err(JournalError::io("retract from", &self.path))?;
        self.file
            .sync_all()
            .map_err(JournalError::io("sync", &self.path))?;
        self.zeroed = self.offset;
        self.torn = false;
        Ok(())
    }

    /// Reads the segment back, cuts what was not acknowledged and makes the cut durable.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when something acknowledged is not there; anything else
    /// may be tried again.
    pub(crate) fn heal(&mut self) -> Result<(), JournalError> {
        let mut scan = Scan::open(&self.path)?;
        while scan.at().seq < self.head.seq {
            match scan.step()? {
                Step::Record(_) => {}
                Step::End => return Err(scan.fault("record is missing").into()),
                Step::Broken(what) => return Err(scan.fault(what).into()),
            }
        }
        if scan.at() != self.head || scan.offset() != self.offset {
            let what = "record is not the one that was acknowledged";
            return Err(scan.fault(what).into());
        }
        self.cut()
    }

    /// Cuts everything behind the last record, durably, and renews both marks.
    fn cut(&mut self) -> Result<(), JournalError> {
        let (file, path) = (&self.file, &self.path);
        file.set_len(self.offset)
            .map_err(JournalError::io("cut the torn tail of", path))?;
        self.zeroed = self.offset;
        self.sync_all()?;
        for second_slot in [false, true] {
            segment::write_mark(&self.file, &self.head, second_slot)
                .map_err(JournalError::io("mark", &self.path))?;
        }
        self.sync_all()?;
        self.torn = false;
        Ok(())
    }

    fn sync_all(&mut self) -> Result<(), JournalError> {
        #[cfg(feature = "planted-faults")]
        self.fault
            .sync()
            .map_err(JournalError::io("sync", &self.path))?;
        self.file
            .sync_all()
            .map_err(JournalError::io("sync", &self.path))
    }

    /// Tries whether records could be written, without writing any.
    pub(crate) fn probe(&mut self) -> Result<(), JournalError> {
        self.make_room(PROBE_BYTES)?;
        self.sync().map_err(JournalError::io("sync", &self.path))
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), JournalError> {
        #[cfg(feature = "planted-faults")]
        self.fault
            .allocate()
            .map_err(JournalError::no_space("allocate", &self.path))?;
        if self.offset >= self.segment_bytes {
            self.rotate();
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

    /// Whether the next segment is to be made.
    pub(crate) fn wants_next(&self) -> bool {
        self.next.is_none() && self.offset >= self.segment_bytes / 2
    }

    /// Makes the next segment ahead of its time, if it can be made now.
    pub(crate) fn prepare_next(&mut self) {
        if !self.wants_next() {
            return;
        }
        #[cfg(feature = "planted-faults")]
        if let Err(error) = self.fault.prepare() {
            tracing::debug!(%error, "the next segment could not be made yet");
            return;
        }
        // On a nearly full disk the space is left to those who need it now.
        let plenty = self.segment_bytes.saturating_mul(PLENTY);
        let reserved = if free_bytes(&self.dir_file) >= plenty {
            self.segment_bytes
        } else {
            DATA_START
        };
        match prepare(&self.dir, reserved) {
            Ok(next) => self.next = Some(next),
            // The current one grows meanwhile; it is tried again soon.
            Err(error) => tracing::debug!(%error, "the next segment could not be made yet"),
        }
    }

    /// Goes on to the next segment, if there is one; otherwise this one grows.
    fn rotate(&mut self) {
        self.prepare_next();
        let Some(next) = self.next.take() else {
            return;
        };
        if let Err(error) = self.try_rotate(&next) {
            tracing::warn!(%error, "the next segment could not be begun; the current one grows");
            return;
        }
        self.path = segment::path_of(&self.dir, self.head.seq.saturating_add(1));
        self.file = next;
        (self.offset, self.zeroed, self.second_slot) = (DATA_START, DATA_START, true);
    }

    /// The next segment is complete before the old one is closed, and gets its name last:
    /// a crash at any point leaves a journal that opens. A failure before the last step
    /// leaves the current segment in use, and its unfinished successor is made anew.
    fn try_rotate(&mut self, next: &File) -> Result<(), JournalError> {
        let header = SegmentHeader {
            before: self.head,
            origin: self.origin,
        };
        begin(next, &header, &temporary(&self.dir))?;
        self.close()?;
        let path = segment::path_of(&self.dir, header.first_seq());
        fs::rename(temporary(&self.dir), &path).map_err(JournalError::io("publish", &path))?;
        self.named = false;
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

/// Free bytes on the file system; none if that cannot be told.
fn free_bytes(dir: &File) -> u64 {
    rustix::fs::fstatvfs(dir).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A new segment under a temporary name, with this much space reserved, in bytes.
fn prepare(dir: &Path, reserved: u64) -> Result<File, JournalError> {
    let path = temporary(dir);
    let file = segment::open_file(&path, true)?;
    match fallocate(&file, FallocateFlags::empty(), 0, reserved) {
        // Not every file system can; the zeros written ahead then find out about space.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(file),
        Err(error) => {
            // Half of a reservation is of no use to anybody.
            let _stays_until_the_next_try = file.set_len(0);
            Err(JournalError::no_space("allocate", &path)(error.into()))
        }
    }
}

/// Writes the header of a segment that nobody reads yet: a full disk leaves no trace here,
/// even if the sync finds it.
fn begin(file: &File, header: &SegmentHeader, path: &Path) -> Result<(), JournalError> {
    header
        .write(file)
        .map_err(JournalError::no_space("write", path))?;
    file.sync_all()
        .map_err(JournalError::no_space("sync", path))
}

fn publish(dir: &Path, dir_file: &File, path: &Path) -> Result<(), JournalError> {
    fs::rename(temporary(dir), path).map_err(JournalError::io("publish", path))?;
    dir_file.sync_all().map_err(JournalError::io("sync", dir))
}
