//! One commit: handed over, durable, seen again in the change log, then
//! acknowledged. An unknown outcome is asked after before anybody is told.

use store::{Commit, CommitError, CommitId, Condition, Key, Position, Resolution, Write};

use super::State;
use crate::failure::{Failure, Kind};
use crate::limits;

/// Why a commit did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitFailure {
    /// Somebody else changed this record first; nothing was written.
    Conflict(Key),
    /// Anything else.
    Failed(Failure),
}

impl From<CommitFailure> for Failure {
    fn from(failure: CommitFailure) -> Self {
        match failure {
            CommitFailure::Conflict(_) => Self::new(
                Kind::Unavailable,
                "the record was changed at the same time by someone else; nothing was done, try again",
            ),
            CommitFailure::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for CommitFailure {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl State {
    /// Commits, and returns once memory shows the change.
    ///
    /// # Errors
    /// [`CommitFailure::Conflict`] when a condition does not hold; else what the
    /// store said, unknown outcomes resolved as far as it can be done.
    pub(crate) async fn commit(
        &self,
        conditions: Vec<Condition>,
        writes: Vec<Write>,
    ) -> Result<Position, CommitFailure> {
        let started = self.0.clock.since_boot();
        let id = CommitId(self.0.entropy.bytes().map_err(Failure::from)?);
        let commit = Commit {
            id,
            conditions,
            writes,
        };
        let position = match self.0.store.commit(commit).await {
            Ok(position) => position,
            Err(CommitError::Unknown) => self.resolve(id).await?,
            Err(CommitError::Conflict { key }) => return Err(CommitFailure::Conflict(key)),
            Err(error @ (CommitError::TooLarge { .. } | CommitError::EmptyKey)) => {
                return Err(Failure::invalid(error).into());
            }
            Err(error @ (CommitError::Unavailable(_) | CommitError::Full)) => {
                tracing::error!(%error, "commit failed");
                return Err(
                    Failure::unavailable(format!("the change was not made: {error}")).into(),
                );
            }
        };
        self.wait_applied(position).await?;
        let took = self.0.clock.since_boot().saturating_sub(started);
        self.0.meters.commit_seconds.record(took.as_secs_f64());
        Ok(position)
    }

    /// What became of a commit whose acknowledgement was lost.
    async fn resolve(&self, id: CommitId) -> Result<Position, CommitFailure> {
        for _ in 0..limits::RESOLVE_TRIES {
            match self.0.store.resolve(id).await {
                Ok(Resolution::Committed(position)) => return Ok(position),
                Ok(Resolution::NotCommitted) => {
                    return Err(Failure::unavailable("the change was not made; try again").into());
                }
                Ok(Resolution::Forgotten) => break,
                Err(error) => tracing::warn!(%error, "outcome of a commit is still unknown"),
            }
            tokio::time::sleep(limits::RESOLVE_PAUSE).await;
        }
        Err(unknown(
            "the store cannot say whether the change was made; look before you try again",
        ))
    }

    async fn wait_applied(&self, position: Position) -> Result<(), CommitFailure> {
        let mut applied = self.0.applied.subscribe();
        // A reload may jump past it, into another incarnation even.
        let reached =
            applied.wait_for(|at| at.incarnation != position.incarnation || *at >= position);
        match tokio::time::timeout(limits::APPLY_WAIT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(unknown(
                "the change is stored, but this server does not see it yet",
            )),
        }
    }
}

fn unknown(message: &str) -> CommitFailure {
    CommitFailure::Failed(Failure::new(Kind::OutcomeUnknown, message))
}
