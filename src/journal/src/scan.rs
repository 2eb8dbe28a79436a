//! Reads one segment record by record, believing nothing that the chain does not prove.
//! Opening, reading and verifying are all built on this one walk.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::frame::{self, HASH_BYTES, HEADER_BYTES};
use crate::segment::{self, DATA_START, SegmentHeader};
use crate::{Fault, Head, JournalError, Stored};

const READ_BUFFER_BYTES: usize = 256 << 10;

/// A segment, read from its first record on.
pub(crate) struct Scan {
    path: PathBuf,
    file: BufReader<File>,
    header: SegmentHeader,
    at: Head,
    offset: u64,
    frame: Vec<u8>,
}

/// What comes next in a segment.
pub(crate) enum Step {
    /// A record that continues the chain.
    Record(Stored),
    /// The end of the file, just after a record.
    End,
    /// Something that does not continue the chain, or preallocated space.
    Broken(&'static str),
}

impl Scan {
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(JournalError::io("open", path))?;
        let header = SegmentHeader::read(&file, path)?;
        let mut file = BufReader::with_capacity(READ_BUFFER_BYTES, file);
        file.seek(SeekFrom::Start(DATA_START))
            .map_err(JournalError::io("read", path))?;
        let scan = Self {
            path: path.to_owned(),
            file,
            at: header.before,
            header,
            offset: DATA_START,
            frame: Vec::new(),
        };
        if segment::seq_of(path) == Some(header.first_seq()) {
            Ok(scan)
        } else {
            Err(scan.fault("file name and segment header disagree").into())
        }
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The newest record read so far, or the one before this segment.
    pub(crate) fn at(&self) -> Head {
        self.at
    }

    /// Where the next record begins, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn mark(&self) -> Option<Head> {
        segment::read_mark(self.file.get_ref())
    }

    /// Forgets what was read ahead: the file has grown since.
    pub(crate) fn refresh(&mut self) -> Result<(), JournalError> {
        let at = SeekFrom::Start(self.offset);
        self.file
            .seek(at)
            .map(drop)
            .map_err(JournalError::io("read", &self.path))
    }

    /// A fault at the next record.
    pub(crate) fn fault(&self, what: &'static str) -> Fault {
        let seq = self.at.seq.saturating_add(1);
        Fault {
            seq,
            file: self.path.clone(),
            offset: self.offset,
            what,
        }
    }

    /// Reads the next record; after anything else than a record, do not call it again.
    pub(crate) fn step(&mut self) -> Result<Step, JournalError> {
        self.frame.clear();
        if self.fill(HEADER_BYTES)? < HEADER_BYTES {
            let end = self.frame.is_empty();
            return Ok(if end {
                Step::End
            } else {
                Step::Broken("record is cut short")
            });
        }
        let header = self.frame.first_chunk().and_then(frame::Header::decode);
        let Some(header) = header else {
            let zero = self.frame.iter().all(|byte| *byte == 0);
            return Ok(Step::Broken(if zero {
                "record is missing"
            } else {
                "no record here"
            }));
        };
        if header.seq != self.at.seq.saturating_add(1) {
            return Ok(Step::Broken("record number is out of order"));
        }
        let body = header.payload_bytes.saturating_add(HASH_BYTES);
        if self.fill(body)? < body {
            return Ok(Step::Broken("record is cut short"));
        }
        let (record, hash) = self
            .frame
            .split_at(HEADER_BYTES.saturating_add(header.payload_bytes));
        let expected = frame::chain(&self.at.hash, record);
        if expected != hash {
            return Ok(Step::Broken("record does not continue the hash chain"));
        }
        let stored = Stored {
            seq: header.seq,
            binding: header.binding,
            payload: record.get(HEADER_BYTES..).unwrap_or_default().to_vec(),
            prev: self.at.hash,
            hash: expected,
        };
        self.at = Head {
            seq: header.seq,
            hash: expected,
        };
        self.offset = self
            .offset
            .saturating_add(u64::try_from(self.frame.len()).unwrap_or(0));
        Ok(Step::Record(stored))
    }

    /// Walks to the end of what the chain proves and hands each record to `each`.
    pub(crate) fn walk(
        &mut self,
        mut each: impl FnMut(&Self, Stored) -> Result<(), JournalError>,
    ) -> Result<Step, JournalError> {
        loop {
            match self.step()? {
                Step::Record(stored) => each(self, stored)?,
                end => return Ok(end),
            }
        }
    }

    /// Appends up to `wanted` bytes of the file to the frame and says how many came.
    fn fill(&mut self, wanted: usize) -> Result<usize, JournalError> {
        let limit = u64::try_from(wanted).unwrap_or(u64::MAX);
        loop {
            match self.file.by_ref().take(limit).read_to_end(&mut self.frame) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(JournalError::io("read", &self.path)),
            }
        }
    }
}
