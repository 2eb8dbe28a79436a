//! What goes in, what comes out: a draft becomes a durable record and a receipt.

use std::fmt;

use ring::digest::{SHA256, digest};

/// Names the one thing a record is about: a serial, a `jti`, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Binding([u8; 32]);

impl Binding {
    /// For records that are about no single credential.
    pub const NONE: Self = Self([0; 32]);

    /// Up to 31 bytes are kept as they are, zero-padded, with the length last; anything
    /// longer is replaced by its SHA-256. Two different names never share a binding,
    /// short of a collision.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let mut out = [0; 32];
        match (u8::try_from(name.len()), out.get_mut(..name.len())) {
            (Ok(length), Some(start)) if length < 32 => {
                start.copy_from_slice(name);
                out[31] = length;
            }
            _ => out.copy_from_slice(digest(&SHA256, name).as_ref()),
        }
        Self(out)
    }

    /// The bytes as stored, from a record read back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes as stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// How important a record is. The lower it stands, the earlier it is refused when the
/// queue fills up, so that those above it keep a share that nobody below can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Caused by somebody who may do nothing here: an eighth of the queue at most.
    Stranger,
    /// Credentials and what authenticated callers ask for: three quarters at most.
    #[default]
    Issuance,
    /// What administrators change: seven eighths at most.
    Admin,
    /// What keeps the domain alive or takes access away: the whole queue.
    Vital,
}

impl Priority {
    /// Every priority, lowest first.
    pub const ALL: [Self; 4] = [Self::Stranger, Self::Issuance, Self::Admin, Self::Vital];

    /// How much of a queue of `most` may be filled when a record of this priority joins.
    pub(crate) const fn share(self, most: usize) -> usize {
        match self {
            Self::Stranger => most / 8,
            Self::Issuance => most - most / 4,
            Self::Admin => most - most / 8,
            Self::Vital => most,
        }
    }
}

/// A record to be appended.
pub struct Draft {
    /// How important it is.
    pub priority: Priority,
    /// What it is about.
    pub binding: Binding,
    /// At most [`crate::Options::max_payload_bytes`] bytes.
    pub payload: Vec<u8>,
}

/// The newest durable record: its number and the hash that covers everything up to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the newest record; 0 when there is none.
    pub seq: u64,
    /// Its chained hash; the journal's origin when there is none.
    pub hash: [u8; 32],
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seq)?;
        write_hex(f, &self.hash)
    }
}

/// Proof that a record is durable. Neither clonable nor constructible elsewhere, so
/// each one can be redeemed once.
#[derive(Debug)]
pub struct Receipt {
    seq: u64,
    hash: [u8; 32],
    binding: Binding,
}

impl Receipt {
    pub(crate) const fn new(seq: u64, hash: [u8; 32], binding: Binding) -> Self {
        Self { seq, hash, binding }
    }

    /// A receipt without a record, for tests and benches of the floor above only.
    #[cfg(feature = "test-receipt")]
    #[must_use]
    pub const fn forged(binding: Binding) -> Self {
        Self {
            seq: 0,
            hash: [0; 32],
            binding,
        }
    }

    /// The record's number, from 1.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The record's chained hash.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What the record is about.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_have_different_bindings() {
        let names: [&[u8]; 6] = [b"", b"\0", b"a", b"a\0", &[7; 31], &[7; 32]];
        for (i, one) in names.iter().enumerate() {
            for (j, other) in names.iter().enumerate() {
                assert_eq!(Binding::of(one) == Binding::of(other), i == j);
            }
        }
    }
}
