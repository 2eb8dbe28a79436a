//! Proofs that were already used: each counts once (RFC 9449 section 11.1).

use std::collections::HashMap;

use identity::Timestamp;

use super::ProofId;

/// The most proofs kept; when as many are fresh, further ones are refused rather
/// than accepted twice.
pub const PROOFS_KEPT_MAX: usize = 100_000;

/// A proof that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Replayed {
    /// It was used before.
    #[error("DPoP proof was used before; make one for each request")]
    Used,
    /// So many proofs are fresh that this one cannot be remembered.
    #[error("too many DPoP proofs at once; try again in a minute")]
    Full,
}

/// The proofs accepted lately. Bounded; forgets what would be too old anyway.
#[derive(Debug)]
pub struct ProofsSeen {
    until: HashMap<[u8; 32], Timestamp>,
    /// When something is next old enough to be forgotten.
    sweep_at: Option<Timestamp>,
    most: usize,
}

impl Default for ProofsSeen {
    fn default() -> Self {
        Self::bounded(PROOFS_KEPT_MAX)
    }
}

impl ProofsSeen {
    /// Remembers at most so many proofs, [`PROOFS_KEPT_MAX`] at most.
    #[must_use]
    pub fn bounded(most: usize) -> Self {
        Self {
            until: HashMap::new(),
            sweep_at: None,
            most: most.min(PROOFS_KEPT_MAX),
        }
    }

    /// Whether nothing is remembered that could still be used again.
    #[must_use]
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.until.values().all(|until| *until <= now)
    }

    /// Accepts a proof for the first and last time.
    ///
    /// # Errors
    /// It was used before, or there is no room to remember it.
    pub fn accept(&mut self, proof: ProofId, now: Timestamp) -> Result<(), Replayed> {
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.until.retain(|_, until| *until > now);
            self.sweep_at = self.until.values().min().copied();
        }
        if self.until.contains_key(&proof.id) {
            return Err(Replayed::Used);
        }
        if self.until.len() >= self.most {
            return Err(Replayed::Full);
        }
        self.until.insert(proof.id, proof.until);
        let first = self.sweep_at.map_or(proof.until, |at| at.min(proof.until));
        self.sweep_at = Some(first);
        Ok(())
    }
}
