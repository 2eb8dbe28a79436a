//! Selectors: the facts attestors state about a node or a workload, and the
//! conditions registration entries put on them.

use std::fmt;
use std::sync::Arc;

/// The most selectors one entry or one caller may have.
pub const MAX_SELECTORS: usize = 256;

const MAX_TYPE_BYTES: usize = 255;
const MAX_VALUE_BYTES: usize = 4096;

/// One fact, `type:value`, such as `unix:uid:1000` (type `unix`, value `uid:1000`).
///
/// Cheap to clone. Selectors describe what runs where: treat them as sensitive
/// and keep them out of logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    text: Arc<str>,
    colon: u8,
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// No colon, so no type.
    #[error("selector has no ':' between type and value; write it like unix:uid:1000")]
    NoColon,
    /// Nothing before the first colon.
    #[error("selector has an empty type; write it like unix:uid:1000")]
    EmptyType,
    /// Nothing after the first colon.
    #[error("selector of type {0:?} has an empty value")]
    EmptyValue(String),
    /// A type with a colon, a control character, or more than 255 bytes.
    #[error(
        "selector type is not valid: it has a ':' or a control character, or over {MAX_TYPE_BYTES} bytes"
    )]
    BadType,
    /// A value with a control character or more than 4096 bytes.
    #[error(
        "selector value of type {0:?} is not valid: it has a control character or over {MAX_VALUE_BYTES} bytes"
    )]
    BadValue(String),
    /// More than [`MAX_SELECTORS`].
    #[error("{0} selectors given; at most {MAX_SELECTORS} are allowed")]
    TooMany(usize),
}

impl Selector {
    /// Parses `type:value`; the type ends at the first colon.
    ///
    /// # Errors
    /// Says what is missing or not allowed.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let (kind, value) = text.split_once(':').ok_or(SelectorError::NoColon)?;
        Self::new(kind, value)
    }

    /// Puts a selector together from its type and value.
    ///
    /// # Errors
    /// Says what is missing or not allowed.
    pub fn new(kind: &str, value: &str) -> Result<Self, SelectorError> {
        if kind.is_empty() {
            return Err(SelectorError::EmptyType);
        }
        if kind.contains(|c: char| c == ':' || c.is_control()) || kind.len() > MAX_TYPE_BYTES {
            return Err(SelectorError::BadType);
        }
        if value.is_empty() {
            return Err(SelectorError::EmptyValue(kind.into()));
        }
        if value.contains(char::is_control) || value.len() > MAX_VALUE_BYTES {
            return Err(SelectorError::BadValue(kind.into()));
        }
        let colon = u8::try_from(kind.len()).unwrap_or(u8::MAX);
        Ok(Self {
            text: format!("{kind}:{value}").into(),
            colon,
        })
    }

    /// The attestor that states this fact, such as `unix`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text.get(..usize::from(self.colon)).unwrap_or_default()
    }

    /// The fact, such as `uid:1000`.
    #[must_use]
    pub fn value(&self) -> &str {
        self.text
            .get(usize::from(self.colon) + 1..)
            .unwrap_or_default()
    }

    /// The whole `type:value`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({})", self.text)
    }
}

/// A set of selectors, sorted and without repeats.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Selectors(Arc<[Selector]>);

impl Selectors {
    /// Makes a set; order and repeats do not matter.
    ///
    /// # Errors
    /// More than [`MAX_SELECTORS`] distinct ones.
    pub fn new(mut list: Vec<Selector>) -> Result<Self, SelectorError> {
        list.sort_unstable();
        list.dedup();
        if list.len() > MAX_SELECTORS {
            return Err(SelectorError::TooMany(list.len()));
        }
        Ok(Self(list.into()))
    }

    /// Whether each selector of this set is in `other`: how an entry matches a
    /// workload.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        let mut theirs = other.0.iter();
        self.0.iter().all(|mine| {
            theirs
                .by_ref()
                .find(|t| *t >= mine)
                .is_some_and(|t| t == mine)
        })
    }

    /// Lets equal selectors share their memory with those of `other`.
    pub(crate) fn share_with(&mut self, other: &Self) {
        for own in Arc::get_mut(&mut self.0).into_iter().flatten() {
            if let Ok(at) = other.0.binary_search(own) {
                *own = other.0.get(at).unwrap_or(own).clone();
            }
        }
    }

    /// The selectors in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Selector> {
        self.0.iter()
    }

    /// The selectors in order, as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[Selector] {
        &self.0
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `selector` is one of them.
    #[must_use]
    pub fn contains(&self, selector: &Selector) -> bool {
        self.0.binary_search(selector).is_ok()
    }
}

impl<'a> IntoIterator for &'a Selectors {
    type Item = &'a Selector;
    type IntoIter = std::slice::Iter<'a, Selector>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
