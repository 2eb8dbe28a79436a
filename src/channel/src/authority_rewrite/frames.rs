//! HTTP/2 framing (RFC 9113 sections 3.4 and 4), as far as finding header blocks
//! needs it. No I/O: bytes in, the same number of bytes out.

use std::ops::Range;

use super::header_block;
use super::name_table::NameTable;

pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEADER_BYTES: usize = 9;
/// Our settings leave the frame size at its default.
const MAX_FRAME_BYTES: usize = 16 * 1024;
/// The most bytes held back for one header block, frame headers and padding
/// included: twice what the server would accept.
pub(super) const MAX_HELD_BYTES: usize = 32 * 1024;
/// The most frames one header block may be spread over: empty CONTINUATION
/// frames cost the sender next to nothing.
const MAX_FRAGMENTS: usize = 16;

const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Bytes of a client on their way to the server.
#[derive(Debug)]
pub(super) struct Rewriter {
    bytes: Vec<u8>,
    /// Bytes at the front that were given out.
    given: usize,
    /// Bytes at the front that may be given out; what follows is held back.
    released: usize,
    state: State,
    names: NameTable,
    first_block_seen: bool,
}

#[derive(Debug)]
enum State {
    Preface,
    /// At the start of a frame.
    Frame,
    /// So many bytes of some other frame's payload are to come.
    Payload(usize),
    /// Everything from here on goes out as it came.
    PassThrough,
}

/// The start of a frame.
struct FrameHeader {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// What became of a header block.
enum Block {
    /// It is not complete: wait for more bytes.
    Partial,
    /// It takes up so many bytes, and its fragments lie there.
    Whole(usize, Vec<Range<usize>>),
    /// Not a header block, or too big a one.
    Broken,
}

impl Rewriter {
    pub(super) fn new(prefix: Vec<u8>) -> Self {
        let mut rewriter = Self {
            bytes: prefix,
            given: 0,
            released: 0,
            state: State::Preface,
            names: NameTable::new(),
            first_block_seen: false,
        };
        rewriter.advance();
        rewriter
    }

    /// Takes in what the client sent.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.advance();
    }

    /// What may go on to the server now.
    pub(super) fn ready(&self) -> &[u8] {
        self.bytes
            .get(self.given..self.released)
            .unwrap_or_default()
    }

    /// The server has taken so many bytes of it.
    pub(super) fn consume(&mut self, count: usize) {
        self.given = self.released.min(self.given + count);
        if self.given == self.bytes.len() {
            // Nothing is held: an idle connection keeps no buffer.
            self.bytes = Vec::new();
        } else if self.given == self.released {
            self.bytes.drain(..self.given);
        } else {
            return;
        }
        self.released -= self.given;
        self.given = 0;
    }

    /// Whether all that follows can bypass this rewriter.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self.state, State::PassThrough) && self.ready().is_empty()
    }

    /// Releases everything as it is: the client is done or breaks the protocol,
    /// and the server is the one to say so.
    pub(super) fn give_up(&mut self) {
        self.state = State::PassThrough;
        self.released = self.bytes.len();
    }

    /// Bytes held, for the bound's test.
    #[cfg(test)]
    pub(super) const fn held(&self) -> usize {
        self.bytes.len()
    }

    fn advance(&mut self) {
        while self.step() {}
    }

    /// One state's work; false when more bytes are needed.
    fn step(&mut self) -> bool {
        let waiting = self.bytes.get(self.released..).unwrap_or_default();
        match self.state {
            State::PassThrough => {
                self.released = self.bytes.len();
                false
            }
            State::Preface => {
                let expected = PREFACE.get(..waiting.len()).unwrap_or(PREFACE);
                if !waiting.starts_with(expected) {
                    self.give_up(); // HTTP/1.1
                    return false;
                }
                if waiting.len() < PREFACE.len() {
                    return false;
                }
                self.released += PREFACE.len();
                self.state = State::Frame;
                true
            }
            State::Payload(remaining) => {
                let here = remaining.min(waiting.len());
                self.released += here;
                self.state = match remaining - here {
                    0 => State::Frame,
                    more => State::Payload(more),
                };
                here == remaining
            }
            State::Frame => {
                let Some(frame) = FrameHeader::parse(waiting) else {
                    return false;
                };
                if frame.kind == HEADERS {
                    return self.header_block();
                }
                self.released += FRAME_HEADER_BYTES;
                self.state = State::Payload(frame.length);
                true
            }
        }
    }

    fn header_block(&mut self) -> bool {
        let waiting = self.bytes.get_mut(self.released..).unwrap_or_default();
        let (length, fragments) = match collect(waiting) {
            Block::Partial => return false,
            Block::Whole(length, fragments) => (length, fragments),
            Block::Broken => {
                self.give_up();
                return false;
            }
        };
        let Ok(replaced) = rewrite_fragments(waiting, &fragments, &mut self.names) else {
            self.give_up();
            return false;
        };
        self.released += length;
        if !replaced && !self.first_block_seen {
            self.give_up();
            return false;
        }
        self.first_block_seen = true;
        true
    }
}

impl FrameHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3] = bytes.first_chunk()?;
        Some(Self {
            length: usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?,
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        })
    }
}

/// Looks for a whole header block at the start of `bytes`: a HEADERS frame and
/// the CONTINUATION frames that must follow it.
fn collect(bytes: &[u8]) -> Block {
    let mut fragments = Vec::new();
    let mut at = 0;
    let mut stream = None;
    loop {
        let Some(frame) = bytes.get(at..).and_then(FrameHeader::parse) else {
            return Block::Partial;
        };
        let expected = match stream {
            None => frame.kind == HEADERS,
            Some(stream) => frame.kind == CONTINUATION && frame.stream == stream,
        };
        let start = at + FRAME_HEADER_BYTES;
        let end = start + frame.length;
        let too_big = frame.length > MAX_FRAME_BYTES || end > MAX_HELD_BYTES;
        if !expected || too_big || fragments.len() == MAX_FRAGMENTS {
            return Block::Broken;
        }
        let Some(payload) = bytes.get(start..end) else {
            return Block::Partial;
        };
        let Some(fragment) = fragment(&frame, payload) else {
            return Block::Broken;
        };
        fragments.push(start + fragment.start..start + fragment.end);
        at = end;
        stream = Some(frame.stream);
        if frame.flags & END_HEADERS != 0 {
            return Block::Whole(at, fragments);
        }
    }
}

/// The header bytes within a payload: without priority and padding.
fn fragment(frame: &FrameHeader, payload: &[u8]) -> Option<Range<usize>> {
    let mut start = 0;
    let mut padding = 0;
    if frame.kind == HEADERS && frame.flags & PADDED != 0 {
        padding = usize::from(*payload.first()?);
        start += 1;
    }
    if frame.kind == HEADERS && frame.flags & PRIORITY != 0 {
        start += 5;
    }
    let end = payload.len().checked_sub(padding)?;
    (start <= end).then_some(start..end)
}

fn rewrite_fragments(
    bytes: &mut [u8],
    fragments: &[Range<usize>],
    names: &mut NameTable,
) -> Result<bool, header_block::Malformed> {
    if let [only] = fragments {
        let block = bytes.get_mut(only.clone()).unwrap_or_default();
        return header_block::rewrite(block, names);
    }
    let mut block = Vec::new();
    for fragment in fragments {
        block.extend_from_slice(bytes.get(fragment.clone()).unwrap_or_default());
    }
    let replaced = header_block::rewrite(&mut block, names)?;
    let mut rest = &block[..];
    for fragment in fragments {
        let part = bytes.get_mut(fragment.clone()).unwrap_or_default();
        let Some((here, after)) = rest.split_at_checked(part.len()) else {
            break;
        };
        part.copy_from_slice(here);
        rest = after;
    }
    Ok(replaced)
}
