//! A digest of a set of entries: how a server and an agent notice that they do
//! not hold the same.

use std::sync::Arc;

use crate::Entry;

/// A digest over the contents of a set of entries, in whatever order. Server and
/// agent compute it each on its own and so notice that their views differ. It
/// guards against mistakes, not against malice: each end only fools itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct ViewDigest(u128);

impl ViewDigest {
    /// The digest of a set of entries.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Self {
        let mut digest = Self::default();
        for entry in entries {
            digest.add(entry);
        }
        digest
    }

    /// Adds an entry that is not yet in the set.
    pub fn add(&mut self, entry: &Entry) {
        self.0 = self.0.wrapping_add(content_hash(entry));
    }

    /// Takes out an entry that is in the set, in exactly this form.
    pub fn remove(&mut self, entry: &Entry) {
        self.0 = self.0.wrapping_sub(content_hash(entry));
    }

    /// The digest as it goes over the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The digest from the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// FNV-1a over all fields, then mixed so that sums of hashes stay spread. The
/// wire knows no absent lifetime or expiry, so zero and absent count as one.
fn content_hash(entry: &Entry) -> u128 {
    let mut hash = Fnv::new();
    hash.text(entry.id.as_str());
    hash.text(entry.spiffe_id.as_str());
    hash.text(entry.parent_id.as_str());
    entry.selectors.iter().for_each(|s| hash.text(s.as_str()));
    hash.list_end();
    hash.number(i64::from(entry.x509_ttl.map_or(0, |s| s.0)));
    hash.number(i64::from(entry.jwt_ttl.map_or(0, |s| s.0)));
    entry
        .federates_with
        .iter()
        .for_each(|td| hash.text(td.as_str()));
    hash.list_end();
    let flags = [
        entry.admin,
        entry.downstream,
        entry.store_svid,
        entry.disable_x509_prefetch,
        entry.jwt_include_jti,
    ];
    flags.into_iter().for_each(|flag| hash.byte(u8::from(flag)));
    hash.number(entry.expires_at.map_or(0, |t| t.0));
    entry.dns_names.iter().for_each(|name| hash.text(name));
    hash.list_end();
    hash.number(entry.revision);
    hash.text(&entry.hint);
    hash.number(entry.created_at.0);
    hash.finish()
}

struct Fnv(u128);

impl Fnv {
    const fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn byte(&mut self, byte: u8) {
        self.0 =
            (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }

    fn number(&mut self, n: i64) {
        n.to_be_bytes().into_iter().for_each(|b| self.byte(b));
    }

    /// 0xff is in no text of an entry that could be confused with a separator:
    /// it is not valid UTF-8.
    fn text(&mut self, text: &str) {
        text.bytes().for_each(|b| self.byte(b));
        self.byte(0xff);
    }

    fn list_end(&mut self) {
        self.byte(0xfe);
    }

    const fn finish(self) -> u128 {
        let mut n = self.0;
        n ^= n >> 67;
        n = n.wrapping_mul(0xc2b2_ae3d_27d4_eb4f_1656_67b1_9e37_79f9);
        n ^= n >> 59;
        n
    }
}
