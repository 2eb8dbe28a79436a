//! One record on disk: `magic, payload length, seq, binding | payload | hash`, numbers
//! little endian. The hash covers the previous hash and everything before itself, so a
//! record cannot be edited, moved, dropped or inserted without breaking all that follow.

use ring::digest::{Context, SHA256};

use crate::{Binding, Head};

/// Marks the start of a record; never zero, so preallocated space is no record.
const MAGIC: [u8; 4] = *b"BJR1";
/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 4 + 4 + 8 + 32;
/// Bytes after the payload.
pub(crate) const HASH_BYTES: usize = 32;
/// No payload may be longer, whatever the options say: a reader must be able to bound memory.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Appends the record after `previous` to `out` and returns the new head.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    previous: &Head,
    binding: &Binding,
    payload: &[u8],
) -> Head {
    let seq = previous.seq.saturating_add(1);
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    // The caller has checked the payload against MAX_PAYLOAD_BYTES.
    out.extend_from_slice(
        &u32::try_from(payload.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(binding.as_bytes());
    out.extend_from_slice(payload);
    let hash = chain(&previous.hash, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&hash);
    Head { seq, hash }
}

/// The hash of a record, from the one before and the record's header and payload.
pub(crate) fn chain(previous: &[u8; 32], record: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(record);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// What a record's header says, before anything is believed.
pub(crate) struct Header {
    pub(crate) payload_bytes: usize,
    pub(crate) seq: u64,
    pub(crate) binding: Binding,
}

impl Header {
    /// `None` if this is no record header: no magic, or an impossible length.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (seq, binding) = rest.split_first_chunk::<8>()?;
        let payload_bytes = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        (payload_bytes <= MAX_PAYLOAD_BYTES).then_some(())?;
        Some(Self {
            payload_bytes,
            seq: u64::from_le_bytes(*seq),
            binding: Binding::from_bytes(binding.try_into().ok()?),
        })
    }
}
