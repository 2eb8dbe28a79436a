//! The agent's half.

use contract::{Evidence, Prove, ProveError, ProveStep};

use crate::{JoinToken, KIND};

/// Proves a node by the join token that was carried to it.
#[derive(Debug)]
pub struct JoinTokenProver(JoinToken);

impl JoinTokenProver {
    /// A prover for one token.
    #[must_use]
    pub fn new(token: JoinToken) -> Self {
        Self(token)
    }
}

impl Prove for JoinTokenProver {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn prove(&mut self, step: ProveStep<'_>) -> Result<Evidence, ProveError> {
        match step {
            ProveStep::Start => Ok(Evidence::new(self.0.expose().as_bytes().to_vec())),
            ProveStep::Challenge(_) => Err(ProveError::UnexpectedChallenge(KIND)),
        }
    }
}
