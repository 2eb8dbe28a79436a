//! One attestation from end to end: look, ask the attestors, look again.

use std::sync::Arc;

use channel::uds::UnixPeer;
use contract::{Attestor, InspectError, ProcessError, Strength, inspect_all};
use identity::Selectors;

use super::snapshot::Snapshot;
use super::{Liveness, ProcessHost, Witness};

/// A process that was attested.
#[derive(Debug)]
pub struct Attested {
    /// What the attestors stated of it. Sensitive: not for logs.
    pub selectors: Selectors,
    /// How surely it is the process that connected.
    pub strength: Strength,
    /// Attestors that failed and that the admin marked as optional.
    pub skipped: Vec<&'static str>,
}

/// Why a process was not attested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// About the process itself.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// An attestor failed.
    #[error(transparent)]
    Inspect(InspectError),
    /// The work was lost with the thread that did it.
    #[error("an attestor did not finish")]
    Lost,
}

impl From<InspectError> for AttestError {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Process(error) => Self::Process(error),
            error => Self::Inspect(error),
        }
    }
}

impl ProcessHost {
    /// Attests the process that made a connection, for one call. `witness` is
    /// what was seen of it when the connection was accepted.
    ///
    /// Runs on the calling thread as long as nothing needs to be waited for, and
    /// starts anew off the event loop when something does (a program to hash, a
    /// name to look up).
    ///
    /// # Errors
    /// The process has ended or changed, is not to be attested, or an attestor
    /// failed.
    pub async fn attest(
        self: &Arc<Self>,
        peer: &Arc<UnixPeer>,
        witness: &Arc<Witness>,
        attestors: &Arc<[Attestor]>,
    ) -> Result<Attested, AttestError> {
        match self.attest_now(peer, witness, attestors, false) {
            Err(AttestError::Process(ProcessError::WouldBlock)) => {}
            outcome => return outcome,
        }
        let waiting = self.attest_later(peer, witness, attestors);
        tokio::time::timeout(self.options.deadline, waiting)
            .await
            .unwrap_or(Err(ProcessError::Busy.into()))
    }

    /// Watches over a process that was attested, while a stream to it is open.
    /// Call it inside the tokio runtime.
    ///
    /// # Errors
    /// The process has ended, or no descriptor is left to watch it with.
    pub fn watch(
        self: &Arc<Self>,
        peer: &Arc<UnixPeer>,
        witness: &Witness,
    ) -> Result<Liveness, ProcessError> {
        Liveness::new(self, peer, witness)
    }

    async fn attest_later(
        self: &Arc<Self>,
        peer: &Arc<UnixPeer>,
        witness: &Arc<Witness>,
        attestors: &Arc<[Attestor]>,
    ) -> Result<Attested, AttestError> {
        let admission = self.gate.enter(peer.uid()).await?;
        let (host, peer) = (Arc::clone(self), Arc::clone(peer));
        let (witness, attestors) = (Arc::clone(witness), Arc::clone(attestors));
        let work = tokio::task::spawn_blocking(move || {
            // Held by the thread itself: one that hangs keeps its share.
            let _admission = admission;
            host.attest_now(&peer, &witness, &attestors, true)
        });
        work.await.unwrap_or(Err(AttestError::Lost))
    }

    fn attest_now(
        self: &Arc<Self>,
        peer: &UnixPeer,
        witness: &Witness,
        attestors: &[Attestor],
        may_block: bool,
    ) -> Result<Attested, AttestError> {
        let seen = witness.seen()?;
        let look = Snapshot::take(self, seen.peer(peer)?, may_block)?;
        seen.check_program(look.program())?;
        seen.check_start(look.started())?;
        let mut skipped = Vec::new();
        let outcome = inspect_all(attestors, &look, &mut |kind, _| skipped.push(kind));
        match &outcome {
            Err(InspectError::Process(ProcessError::WouldBlock)) => {}
            // What an attestor says of a process that has meanwhile ended or
            // changed does not count, its complaints included.
            _ => look.confirm()?,
        }
        Ok(Attested {
            selectors: outcome?,
            strength: contract::Process::strength(&look),
            skipped,
        })
    }
}
