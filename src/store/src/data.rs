//! The values of the contract: keys and values are shared bytes, positions are opaque.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A key: 1 to [`crate::Limits::max_key_bytes`] bytes, compared bytewise.
pub type Key = Arc<[u8]>;
/// A value: 0 to [`crate::Limits::max_value_bytes`] bytes.
pub type Value = Arc<[u8]>;

/// A place in the change log. Opaque to users: compare, keep and give back.
///
/// Ordered within one incarnation only; a restored or migrated store has another
/// incarnation, and comparing across them gives `None`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which life of the store; chosen at random when it was created or restored.
    pub incarnation: u128,
    /// How many commits came before and including this one.
    pub revision: u64,
}

impl Position {
    /// Length of the encoded form, in bytes.
    pub const ENCODED_BYTES: usize = 24;

    /// The encoded form: incarnation, then revision, big endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::ENCODED_BYTES] {
        let mut out = [0; Self::ENCODED_BYTES];
        let (incarnation, revision) = out.split_at_mut(16);
        incarnation.copy_from_slice(&self.incarnation.to_be_bytes());
        revision.copy_from_slice(&self.revision.to_be_bytes());
        out
    }

    /// Reads the encoded form; `None` if the length is wrong.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (incarnation, revision) = bytes.split_first_chunk::<16>()?;
        Some(Self {
            incarnation: u128::from_be_bytes(*incarnation),
            revision: u64::from_be_bytes(revision.try_into().ok()?),
        })
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.incarnation == other.incarnation).then(|| self.revision.cmp(&other.revision))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}..@{}", self.incarnation >> 96, self.revision)
    }
}

/// Names one attempt to commit, so that an unknown outcome can be resolved. Random.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CommitId(pub [u8; 16]);

/// What must hold, in the state just before the commit, for it to be applied.
#[derive(Clone, PartialEq, Eq)]
pub enum Condition {
    /// No record under this key.
    Absent(Key),
    /// Exactly this value under this key.
    Equals(Key, Value),
    /// Some record under this key.
    Present(Key),
}

impl Condition {
    /// The key the condition is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Equals(key, _) | Self::Present(key) => key,
        }
    }

    /// Whether the condition holds for what is under its key now.
    #[must_use]
    pub fn holds(&self, current: Option<&[u8]>) -> bool {
        match self {
            Self::Absent(_) => current.is_none(),
            Self::Present(_) => current.is_some(),
            Self::Equals(_, wanted) => current == Some(&**wanted),
        }
    }
}

/// One change of one record.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets the value under a key.
    Put(Key, Value),
    /// Removes the record under a key, if there is one.
    Delete(Key),
}

impl Write {
    /// The key that is written.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    /// The new value, if this is a put.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Put(_, value) => Some(value),
            Self::Delete(_) => None,
        }
    }
}

/// Conditions and writes that happen together or not at all; writes apply in order.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The name of this attempt.
    pub id: CommitId,
    /// What must hold before.
    pub conditions: Vec<Condition>,
    /// What is written.
    pub writes: Vec<Write>,
}

/// One applied commit, as watchers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it is in the log.
    pub position: Position,
    /// What it wrote, in order.
    pub writes: Arc<[Write]>,
}

/// The records under a prefix, as of one position.
#[derive(Clone)]
pub struct Loaded {
    /// The state is that after this commit and before the next; watch from here.
    pub position: Position,
    /// In key order.
    pub records: Vec<(Key, Value)>,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It was applied, here.
    Committed(Position),
    /// It was not applied, and will not be.
    NotCommitted,
    /// The log no longer reaches back far enough to tell: reload and look.
    Forgotten,
}

/// Keys are shown readably, values only by their length: they may be confidential.
impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Absent(_) => "Absent",
            Self::Equals(..) => "Equals",
            Self::Present(_) => "Present",
        };
        write!(f, "{name}({})", self.key().escape_ascii())
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, value) => {
                write!(f, "Put({}, {} bytes)", key.escape_ascii(), value.len())
            }
            Self::Delete(key) => write!(f, "Delete({})", key.escape_ascii()),
        }
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Loaded({:?}, {} records)",
            self.position,
            self.records.len()
        )
    }
}
