//! What lies where in sled's one tree: records, the newest changes, and the head.
//!
//! Changes are kept per commit group, split into chunks well below the size at which
//! sled would move them out of its log.

use std::sync::Arc;

use super::seal::Sealer;
use crate::{CommitId, Position, Write};

const RECORD: u8 = b'r';
const CHANGES: u8 = b'l';
pub(super) const HEAD: &[u8] = b"h";
const CHUNK_BYTES: usize = 16 << 10;

/// A commit of the change log: its id and what it wrote.
pub(super) type Logged = (CommitId, Arc<[Write]>);

/// sled's key for a record.
pub(super) fn record_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len().saturating_add(1));
    out.push(RECORD);
    out.extend_from_slice(key);
    out
}

/// The record key inside sled's key; `None` if it is not a record's.
pub(super) fn record_of(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&[RECORD])
}

pub(super) const CHANGES_PREFIX: &[u8] = &[CHANGES];

/// sled's key for a chunk of the group whose first change is `first`.
pub(super) fn changes_key(first: u64, chunk: u16) -> [u8; 11] {
    let mut out = [CHANGES; 11];
    let (_, numbers) = out.split_at_mut(1);
    let (revision, index) = numbers.split_at_mut(8);
    revision.copy_from_slice(&first.to_be_bytes());
    index.copy_from_slice(&chunk.to_be_bytes());
    out
}

/// The group's first revision and the chunk's index; `None` if it is no such key.
pub(super) fn changes_of(key: &[u8]) -> Option<(u64, u16)> {
    let (first, chunk) = key.strip_prefix(CHANGES_PREFIX)?.split_first_chunk::<8>()?;
    Some((
        u64::from_be_bytes(*first),
        u16::from_be_bytes(chunk.try_into().ok()?),
    ))
}

/// The chunks that hold a group's changes.
pub(super) fn encode_group(changes: &[Logged]) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    put_length(&mut bytes, changes.len());
    for (id, writes) in changes {
        bytes.extend_from_slice(&id.0);
        put_length(&mut bytes, writes.len());
        for write in writes.iter() {
            put_bytes(&mut bytes, write.key());
            match write {
                Write::Put(_, value) => {
                    bytes.push(1);
                    put_bytes(&mut bytes, value);
                }
                Write::Delete(_) => bytes.push(0),
            }
        }
    }
    let mut whole = Vec::new();
    put_length(&mut whole, bytes.len());
    whole.append(&mut bytes);
    whole.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect()
}

/// A group's changes from its joined chunks; `None` if anything is missing or too much.
pub(super) fn decode_group(bytes: &[u8]) -> Option<Vec<Logged>> {
    let mut rest = bytes;
    (take_length(&mut rest)? == rest.len()).then_some(())?;
    let mut changes = Vec::new();
    for _ in 0..take_length(&mut rest)? {
        let (id, after) = rest.split_first_chunk::<16>()?;
        rest = after;
        let mut writes = Vec::new();
        for _ in 0..take_length(&mut rest)? {
            let key = take_bytes(&mut rest)?.into();
            let (kind, after) = rest.split_first()?;
            rest = after;
            writes.push(match kind {
                0 => Write::Delete(key),
                1 => Write::Put(key, take_bytes(&mut rest)?.into()),
                _ => return None,
            });
        }
        changes.push((CommitId(*id), writes.into()));
    }
    rest.is_empty().then_some(changes)
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // Every length is bounded by the limits, far below 4 GiB.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*length)).ok()
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_length(rest)?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

/// The state of the whole store that the head record vouches for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) position: Position,
    /// Changes up to this revision are no longer in the log.
    pub(super) floor: u64,
    /// How many records there are.
    pub(super) count: u64,
    /// Sum of the records' elements, modulo 2^128. Never stored.
    pub(super) sum: u128,
}

/// The head record read back: what it says, and a MAC to be compared once the sum is known.
pub(super) struct StoredHead {
    pub(super) head: Head,
    tag: [u8; 16],
}

impl Head {
    pub(super) fn seal(&self, sealer: &Sealer) -> Vec<u8> {
        let mut bytes = self.fields();
        bytes.extend_from_slice(&self.tag(sealer));
        bytes
    }

    fn fields(&self) -> Vec<u8> {
        let mut bytes = self.position.to_bytes().to_vec();
        bytes.extend_from_slice(&self.floor.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes
    }

    fn tag(&self, sealer: &Sealer) -> [u8; 16] {
        sealer
            .mac(HEAD, &[&self.fields(), &self.sum.to_be_bytes()])
            .0
    }
}

impl StoredHead {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (position, rest) = bytes.split_first_chunk::<{ Position::ENCODED_BYTES }>()?;
        let (floor, rest) = rest.split_first_chunk::<8>()?;
        let (count, tag) = rest.split_first_chunk::<8>()?;
        let head = Head {
            position: Position::from_bytes(position)?,
            floor: u64::from_be_bytes(*floor),
            count: u64::from_be_bytes(*count),
            sum: 0,
        };
        Some(Self {
            head,
            tag: tag.try_into().ok()?,
        })
    }

    /// The head, if these records are the very set it was sealed over.
    pub(super) fn over(&self, count: u64, sum: u128, sealer: &Sealer) -> Option<Head> {
        let head = Head { sum, ..self.head };
        (head.count == count && head.tag(sealer) == self.tag).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_survive_chunking_and_nothing_less() {
        let put = |n: u8, bytes: usize| Write::Put(vec![n].into(), vec![n; bytes].into());
        let changes: Vec<Logged> = (0..9_u8)
            .map(|n| {
                let writes = vec![put(n, usize::from(n) * 5000), Write::Delete(vec![n].into())];
                (CommitId([n; 16]), writes.into())
            })
            .collect();
        let chunks = encode_group(&changes);
        assert!(chunks.len() > 9);
        let whole = chunks.concat();
        assert_eq!(decode_group(&whole).unwrap(), changes);
        assert!(decode_group(&chunks[1..].concat()).is_none());
        assert!(decode_group(&chunks[..chunks.len() - 1].concat()).is_none());
        assert!((0..200).all(|cut| decode_group(&whole[..cut]).is_none()));
    }
}
