//! One commit: handed over, durable, seen again in the change log, then
//! acknowledged. An unknown outcome is asked after before anybody is told.

use journal::{Draft, Receipt};
use records::AuditKind;
use store::{Commit, CommitError, CommitId, Condition, Key, Position, Resolution, Write};

use super::State;
use crate::audit::Refusal;
use crate::caller::Caller;
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
    /// Records what is about to change, then commits it. A commit that fails after
    /// its records leaves one more: what they announced did not happen.
    ///
    /// # Errors
    /// The records could not be made, so nothing was changed; or as [`State::commit`].
    pub(crate) async fn record_and_commit(
        &self,
        caller: &Caller,
        drafts: Vec<Draft>,
        conditions: Vec<Condition>,
        writes: Vec<Write>,
    ) -> Result<Vec<Receipt>, CommitFailure> {
        let receipts = self.0.audit.append(drafts).await?;
        match self.commit(conditions, writes).await {
            Ok(_) => Ok(receipts),
            Err(failure) => {
                self.take_back(caller, &receipts, &failure).await;
                Err(failure)
            }
        }
    }

    async fn take_back(&self, caller: &Caller, receipts: &[Receipt], failure: &CommitFailure) {
        let (Some(first), Some(last)) = (receipts.first(), receipts.last()) else {
            return;
        };
        let why = Failure::from(failure.clone());
        let reason = format!("records {} to {}: {why}", first.seq(), last.seq());
        let refusal = Refusal {
            kind: AuditKind::Refusal,
            caller,
            for_whom: "",
            entry_id: "",
            reason: &reason,
        };
        self.0.audit.refuse(refusal).await;
    }

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
                if self.0.audit.may_log("commit") {
                    tracing::error!(%error, "changes cannot be committed");
                }
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

    pub(super) async fn wait_applied(&self, position: Position) -> Result<(), CommitFailure> {
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
