//! The names in HPACK's two tables (RFC 7541 section 2.3), as far as finding
//! `:authority` needs them: which entries have that name, and every entry's
//! size, without which nobody knows which index means what.

use std::collections::VecDeque;

/// Our HTTP/2 settings leave the table at its default size; a client may ask for
/// less, never for more.
const MAX_TABLE_BYTES: u32 = 4096;

/// What an entry costs beside its text (RFC 7541 section 4.1).
const ENTRY_OVERHEAD: u32 = 32;

/// The name field of each entry of the static table (RFC 7541 appendix A).
const STATIC_NAMES: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

/// What matters of a header's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Bytes, decoded.
    pub(super) length: u32,
    /// Whether it is `:authority`.
    pub(super) is_authority: bool,
}

/// The dynamic table of one direction of one connection.
#[derive(Debug)]
pub(super) struct NameTable {
    /// Newest first: each entry's name and its size.
    entries: VecDeque<(Name, u32)>,
    size: u32,
    capacity: u32,
}

impl NameTable {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            capacity: MAX_TABLE_BYTES,
        }
    }

    /// The name behind an index; `None` for index 0 and for those past the end.
    pub(super) fn name(&self, index: u32) -> Option<Name> {
        let nth = usize::try_from(index.checked_sub(1)?).ok()?;
        if let Some(name) = STATIC_NAMES.get(nth) {
            return Some(Name {
                length: u32::try_from(name.len()).ok()?,
                is_authority: nth == 0,
            });
        }
        self.entries
            .get(nth - STATIC_NAMES.len())
            .map(|(name, _)| *name)
    }

    /// Adds an entry in front and lets the oldest ones go (section 4.4).
    pub(super) fn insert(&mut self, name: Name, value_length: u32) {
        let size = name
            .length
            .saturating_add(value_length)
            .saturating_add(ENTRY_OVERHEAD);
        self.shrink_to(self.capacity.saturating_sub(size));
        if size <= self.capacity {
            self.entries.push_front((name, size));
            self.size += size;
        }
    }

    /// A dynamic table size update (section 6.3); false when it asks for more
    /// than our settings allow.
    pub(super) fn resize(&mut self, capacity: u32) -> bool {
        if capacity > MAX_TABLE_BYTES {
            return false;
        }
        self.capacity = capacity;
        self.shrink_to(capacity);
        true
    }

    fn shrink_to(&mut self, room: u32) {
        while self.size > room
            && let Some((_, size)) = self.entries.pop_back()
        {
            self.size -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: Name = Name {
        length: 10,
        is_authority: true,
    };
    const OTHER: Name = Name {
        length: 10,
        is_authority: false,
    };

    #[test]
    fn the_static_table_has_one_authority() {
        let table = NameTable::new();
        assert_eq!(table.name(0), None);
        assert_eq!(table.name(1), Some(AUTHORITY));
        assert!((2..=61).all(|i| !table.name(i).unwrap().is_authority));
        assert_eq!(table.name(61).unwrap().length, 16);
        assert_eq!(table.name(62), None);
    }

    #[test]
    fn newest_entry_first_and_oldest_evicted() {
        let mut table = NameTable::new();
        table.insert(AUTHORITY, 0);
        table.insert(OTHER, 0);
        assert_eq!(table.name(62), Some(OTHER));
        assert_eq!(table.name(63), Some(AUTHORITY));
        assert!(table.resize(42));
        assert_eq!(table.name(62), Some(OTHER));
        assert_eq!(table.name(63), None);
    }

    #[test]
    fn an_entry_bigger_than_the_table_empties_it() {
        let mut table = NameTable::new();
        table.insert(AUTHORITY, 0);
        table.insert(OTHER, 4096);
        assert_eq!(table.name(62), None);
        assert!(!table.resize(4097));
    }
}
