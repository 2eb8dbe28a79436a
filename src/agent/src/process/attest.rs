//! One attestation from end to end: look, ask the attestors, look again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use channel::uds::UnixPeer;
use contract::{Attestor, InspectError, Process, ProcessError, Strength, inspect_all};
use identity::Selectors;

use super::snapshot::Snapshot;
use super::witness::Seen;
use super::{Liveness, ProcessHost};

/// A process that was attested.
#[derive(Debug)]
pub struct Attested {
    /// What the attestors stated of it. Sensitive: not for logs.
    pub selectors: Selectors,
    /// How surely it is the process that connected.
    pub strength: Strength,
    /// Attestors that failed and that the admin marked as optional.
    pub skipped: Vec<&'static str>,
    /// Attestors that did not answer.
    pub unknown: Vec<&'static str>,
}

impl Attested {
    /// The process, as the cache knows callers.
    #[must_use]
    pub fn caller(&self) -> workload::Caller {
        workload::Caller::new(self.selectors.clone(), self.unknown.clone())
    }

    /// Whether an attestor had nothing to state, and may have something later.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !(self.skipped.is_empty() && self.unknown.is_empty())
    }

    /// Those attestors, in order of their names.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let mut missing = [&self.skipped[..], &self.unknown].concat();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
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

/// The process that made one connection, from the moment it was accepted.
///
/// A program that the process executed before that moment is not told from the
/// one that connected, so make this as soon as the connection is there.
#[derive(Debug)]
pub struct Caller {
    host: Arc<ProcessHost>,
    peer: Arc<UnixPeer>,
    // A process that could not be attested at accept cannot be later: every
    // call on its connection gets the same error. What the agent itself lacked for a
    // look, it may have by the next call.
    seen: OnceLock<Result<Seen, ProcessError>>,
}

impl ProcessHost {
    /// Takes a first look at the process of a connection that was just
    /// accepted. Never blocks.
    #[must_use]
    pub fn caller(self: &Arc<Self>, peer: &Arc<UnixPeer>) -> Arc<Caller> {
        let caller = Caller {
            host: Arc::clone(self),
            peer: Arc::clone(peer),
            seen: OnceLock::new(),
        };
        // Remembered; each call asks for it.
        let _outcome = caller.seen();
        Arc::new(caller)
    }
}

impl Caller {
    /// The connection's credentials, as the kernel recorded them.
    #[must_use]
    pub fn peer(&self) -> &Arc<UnixPeer> {
        &self.peer
    }

    /// Attests the process for one call. To be done on every call: between two
    /// of them a process can become another.
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
        attestors: &Arc<[Attestor]>,
    ) -> Result<Attested, AttestError> {
        match self.attest_now(attestors, false) {
            Err(AttestError::Process(ProcessError::WouldBlock)) => {}
            outcome => return outcome,
        }
        let waiting = self.attest_later(attestors);
        tokio::time::timeout(self.host.options.deadline, waiting)
            .await
            .unwrap_or(Err(AttestError::Process(ProcessError::Busy)))
    }

    /// Watches over the process while a stream to it is open. Call it inside
    /// the tokio runtime.
    ///
    /// # Errors
    /// The process has ended, or no descriptor is left to watch it with.
    pub fn watch(self: &Arc<Self>) -> Result<Liveness, ProcessError> {
        self.seen()?.watched.watch()?;
        Ok(Liveness::new(self))
    }

    /// Completes when a process that is watched has ended.
    pub(super) async fn ended(&self) {
        match self.seen() {
            Ok(seen) => seen.watched.ended().await,
            Err(_) => std::future::pending().await,
        }
    }

    /// Fails when the process has ended, runs another program than when it
    /// connected, or has changed its user: what may have happened since it was
    /// attested, without asking the attestors again. Costs some microseconds.
    ///
    /// # Errors
    /// What has changed; nothing may be sent to it any more.
    pub fn recheck(&self) -> Result<(), ProcessError> {
        let seen = self.seen()?;
        let host = &self.host;
        let facts = seen.watched.look(&host.proc, host.options.programs)?;
        seen.check(facts, &self.peer)
    }

    /// As [`Caller::recheck`], for something that became due at `due` (of the boot
    /// clock): what was seen of the process since then, for another of its
    /// connections, counts for a moment.
    ///
    /// # Errors
    /// What has changed; nothing may be sent to it any more.
    pub fn recheck_since(&self, due: Duration) -> Result<(), ProcessError> {
        let seen = self.seen()?;
        let (host, programs) = (&self.host, self.host.options.programs);
        let watched = &seen.watched;
        let facts = watched.look_since(due, &host.proc, programs, &host.clock)?;
        seen.check(facts, &self.peer)
    }

    fn seen(&self) -> Result<&Seen, ProcessError> {
        if let Some(seen) = self.seen.get() {
            return seen.as_ref().map_err(Clone::clone);
        }
        let first = Seen::of(&self.host, &self.peer);
        // By number alone another process may be found later.
        let is_handed = self.peer.handle().is_some();
        if is_handed && matches!(first, Err(ProcessError::NoDescriptor)) {
            metrics::counter!("bulla_agent_descriptors_exhausted_total").increment(1);
            return Err(ProcessError::NoDescriptor);
        }
        self.seen
            .get_or_init(|| first)
            .as_ref()
            .map_err(Clone::clone)
    }

    async fn attest_later(
        self: &Arc<Self>,
        attestors: &Arc<[Attestor]>,
    ) -> Result<Attested, AttestError> {
        let admission = self.host.gate.enter(self.peer.uid()).await?;
        let (caller, attestors) = (Arc::clone(self), Arc::clone(attestors));
        let work = tokio::task::spawn_blocking(move || {
            // Held by the thread itself: one that hangs keeps its share.
            let _admission = admission;
            caller.attest_now(&attestors, true)
        });
        work.await.unwrap_or(Err(AttestError::Lost))
    }

    fn attest_now(&self, attestors: &[Attestor], may_block: bool) -> Result<Attested, AttestError> {
        let seen = self.seen()?;
        let look = Snapshot::take(&self.host, seen.peer(&self.peer)?, may_block)?;
        seen.check_program(look.program())?;
        seen.check_start(look.started())?;
        let outcome = inspect_all(attestors, &look);
        match &outcome {
            Err(InspectError::Process(ProcessError::WouldBlock)) => {}
            // What an attestor says of a process that has meanwhile ended or
            // changed does not count, its complaints included.
            _ => look.confirm()?,
        }
        let stated = outcome?;
        Ok(Attested {
            selectors: stated.selectors,
            strength: look.strength(),
            skipped: stated.skipped,
            unknown: stated.unknown,
        })
    }
}
