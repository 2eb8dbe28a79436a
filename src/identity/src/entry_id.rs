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

    /// Makes a UUID-shaped (version 4) id from 16 random bytes.
    #[must_use]
    pub fn from_random(random: [u8; 16]) -> Self {
        let mut n = u128::from_be_bytes(random);
        n = (n & !(0xf << 76)) | (0x4 << 76);
        n = (n & !(0x3 << 62)) | (0x2 << 62);
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
