//! Each record carries a MAC over its key, revision and value, so that sled's bytes are
//! believed only if we wrote them, under this key.
//!
//! One HMAC-SHA-256 serves twice: half of it is stored with the record, the other half is
//! its element in the sum over all records, which is never stored. The head holds a MAC
//! of that sum, so a record that vanished, came back or was swapped for an older version
//! is noticed as well.

use ring::hmac::{Context, HMAC_SHA256, Key, sign};

const TAG_BYTES: usize = 16;

/// Makes and checks MACs under one store's key.
pub(super) struct Sealer(Key);

/// A record as it goes to sled, with its element of the sum.
#[derive(Clone)]
pub(super) struct Sealed {
    /// Tag, revision, value.
    pub(super) bytes: Vec<u8>,
    pub(super) element: u128,
}

const VALUE_START: usize = TAG_BYTES + 8;

impl Sealed {
    pub(super) fn value(&self) -> &[u8] {
        self.bytes.get(VALUE_START..).unwrap_or_default()
    }
}

impl Sealer {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let derived = sign(
            &Key::new(HMAC_SHA256, key),
            b"bulla store: record authentication",
        );
        Self(Key::new(HMAC_SHA256, derived.as_ref()))
    }

    /// Seals a value under sled's key for it.
    pub(super) fn seal(&self, key: &[u8], revision: u64, value: &[u8]) -> Sealed {
        let (tag, element) = self.mac(key, &[&revision.to_be_bytes(), value]);
        let mut bytes = Vec::with_capacity(VALUE_START.saturating_add(value.len()));
        bytes.extend_from_slice(&tag);
        bytes.extend_from_slice(&revision.to_be_bytes());
        bytes.extend_from_slice(value);
        Sealed { bytes, element }
    }

    /// The record, if it is exactly one that was sealed under this key; else `None`.
    pub(super) fn open(&self, key: &[u8], bytes: &[u8]) -> Option<Sealed> {
        let element = self.element(key, bytes)?;
        Some(Sealed {
            bytes: bytes.to_vec(),
            element,
        })
    }

    /// As [`Sealer::open`], without a copy.
    pub(super) fn element(&self, key: &[u8], bytes: &[u8]) -> Option<u128> {
        let (stored, sealed) = bytes.split_first_chunk::<TAG_BYTES>()?;
        let (revision, value) = sealed.split_first_chunk::<8>()?;
        let (tag, element) = self.mac(key, &[revision, value]);
        // Whoever could measure this comparison already reads and writes the file.
        (tag == *stored).then_some(element)
    }

    /// The value inside sealed bytes that were opened before.
    pub(super) fn value_of(bytes: &[u8]) -> &[u8] {
        bytes.get(VALUE_START..).unwrap_or_default()
    }

    /// A MAC over a label and fixed-length parts: its two halves.
    pub(super) fn mac(&self, label: &[u8], parts: &[&[u8]]) -> ([u8; TAG_BYTES], u128) {
        let mut context = Context::with_key(&self.0);
        // Keys are at most a kibibyte, so the length cannot be cut.
        context.update(&u32::try_from(label.len()).unwrap_or(u32::MAX).to_be_bytes());
        context.update(label);
        parts.iter().for_each(|part| context.update(part));
        let mut halves = ([0; TAG_BYTES], 0);
        if let Some((tag, element)) = context.sign().as_ref().split_first_chunk::<TAG_BYTES>() {
            halves.0 = *tag;
            halves.1 = element.try_into().map_or(0, u128::from_be_bytes);
        }
        halves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_only_as_it_was_sealed() {
        let sealer = Sealer::new(&[1; 32]);
        let sealed = sealer.seal(b"key", 7, b"value");
        assert_eq!(
            sealer.open(b"key", &sealed.bytes).unwrap().value(),
            b"value"
        );
        assert!(sealer.open(b"kez", &sealed.bytes).is_none());
        assert!(Sealer::new(&[2; 32]).open(b"key", &sealed.bytes).is_none());
        for at in 0..sealed.bytes.len() {
            let mut edited = sealed.bytes.clone();
            edited[at] ^= 1;
            assert!(sealer.open(b"key", &edited).is_none(), "byte {at}");
            assert!(
                sealer.open(b"key", &sealed.bytes[..at]).is_none(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn key_and_value_cannot_trade_bytes() {
        let sealer = Sealer::new(&[1; 32]);
        assert_ne!(sealer.mac(b"ab", &[b"c"]), sealer.mac(b"a", &[b"bc"]));
    }
}
