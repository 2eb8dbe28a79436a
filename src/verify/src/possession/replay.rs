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
#[derive(Debug, Default)]
pub struct ProofsSeen {
    until: HashMap<[u8; 32], Timestamp>,
    /// When something is next old enough to be forgotten, at the earliest.
    sweep_at: Option<Timestamp>,
}

impl ProofsSeen {
    /// Accepts a proof for the first and last time.
    ///
    /// # Errors
    /// It was used before, or there is no room to remember it.
    pub fn accept(&mut self, proof: ProofId, now: Timestamp) -> Result<(), Replayed> {
        let due = self.sweep_at.is_none_or(|at| at <= now);
        if due || self.until.len() >= PROOFS_KEPT_MAX {
            self.until.retain(|_, until| *until > now);
            self.sweep_at = self.until.values().min().copied();
        }
        if self.until.contains_key(&proof.id) {
            return Err(Replayed::Used);
        }
        if self.until.len() >= PROOFS_KEPT_MAX {
            return Err(Replayed::Full);
        }
        self.until.insert(proof.id, proof.until);
        self.sweep_at = self.sweep_at.or(Some(proof.until));
        Ok(())
    }
}
