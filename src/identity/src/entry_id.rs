//! The name of a registration entry, unique in its trust domain.

use std::fmt;
use std::sync::Arc;

const MAX_BYTES: usize = 255;

/// An entry's id: 1 to 255 characters of `a-z A-Z 0-9 . - _`. The server makes
/// random ones; an admin may choose.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(Arc<str>);

/// Why a text is no entry id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryIdError {
    /// Nothing was given.
    #[error("entry id is empty")]
    Empty,
    /// Longer than 255 bytes.
    #[error("entry id has {0} bytes; at most {MAX_BYTES} are allowed")]
    TooLong(usize),
    /// A character that is not allowed.
    #[error("entry id has the character {0:?}; only letters, digits, '.', '-' and '_' are allowed")]
    Character(char),
}

impl EntryId {
    /// Parses an entry id.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, EntryIdError> {
        if text.is_empty() {
            return Err(EntryIdError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(EntryIdError::TooLong(text.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match text.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(EntryIdError::Character(c)),
            None => Ok(Self(text.into())),
        }
    }

    /// Makes an id that sorts by when it was made: a UUID of version 7 (RFC 9562)
    /// from the time in milliseconds since the Unix epoch, a turn that orders
    /// what one call makes (of which 12 bits count), and random bytes.
    #[must_use]
    pub fn in_order(at_ms: i64, turn: usize, random: [u8; 8]) -> Self {
        let at = u128::from(at_ms.max(0).unsigned_abs()) & 0xffff_ffff_ffff;
        let turn = (turn & 0xfff) as u128;
        let random = u128::from(u64::from_be_bytes(random)) >> 2;
        let n = at << 80 | 0x7 << 76 | turn << 64 | 0x2 << 62 | random;
        let hex = format!("{n:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        let text = [
            part(0, 8),
            part(8, 12),
            part(12, 16),
            part(16, 20),
            part(20, 32),
        ]
        .join("-");
        Self(text.into())
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryId({})", self.0)
    }
}
