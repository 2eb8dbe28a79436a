//! What can happen to a registry, and whom it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;

use identity::{Bundle, Entry, EntryId, Node, Revocation, Revoked, SpiffeId, TrustDomain};

/// One change, as the store's log carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An entry was created or replaced.
    PutEntry(Arc<Entry>),
    /// An entry was deleted.
    DeleteEntry(EntryId),
    /// A node attested, renewed, or was changed.
    PutNode(Arc<Node>),
    /// A node was evicted.
    DeleteNode(SpiffeId),
    /// The own or a federated bundle was set.
    PutBundle(Arc<Bundle>),
    /// A federated bundle was deleted.
    DeleteBundle(TrustDomain),
    /// Something was revoked, or is revoked otherwise than before.
    PutRevocation(Arc<Revocation>),
    /// A revocation was lifted, or nothing that it revoked is valid any more.
    DeleteRevocation(Revoked),
    /// The list of revocations has this sequence number.
    RevocationSequence(u64),
}

/// Whose view may have changed. Never too small; [`Touched::All`] may be too
/// large: it is the answer when naming the agents would cost more than asking
/// each whether anything changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Every agent's.
    All,
    /// These agents', none when empty.
    Agents(BTreeSet<SpiffeId>),
}

impl Touched {
    /// Nobody's.
    #[must_use]
    pub const fn nobody() -> Self {
        Self::Agents(BTreeSet::new())
    }

    /// Whether nobody's view changed.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Agents(set) if set.is_empty())
    }

    /// Whether this agent's view may have changed.
    #[must_use]
    pub fn contains(&self, agent: &SpiffeId) -> bool {
        match self {
            Self::All => true,
            Self::Agents(set) => set.contains(agent),
        }
    }

    /// Adds another change's agents.
    pub fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Agents(mine), Self::Agents(theirs)) => mine.extend(theirs),
        }
    }
}
