//! One process, watched once for all of its connections: a single registration
//! with the event loop, and a single look at it for everything that is pushed to it
//! at one time.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use channel::uds::ProcessHandle;
use contract::ProcessError;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::proc_fs::ProcFs;
use super::program::Program;
use super::snapshot::owner;
use super::{Clock, anchor};

/// How long one look may serve the pushes of one change. What a process is sent in
/// this time was meant for it before the look, so that it might as well have been
/// sent then; with a longer time a reader that stalls would be sent it unlooked at.
const SHARED_FOR: Duration = Duration::from_millis(50);
/// How many are remembered before those that are gone are swept out.
const SWEPT: usize = 64;

/// A process that has connections.
#[derive(Debug)]
pub(super) struct Watched {
    handle: Arc<ProcessHandle>,
    pid: u32,
    death: OnceLock<AsyncFd<Arc<ProcessHandle>>>,
    registering: Mutex<()>,
    last: Mutex<Option<(Duration, Facts)>>,
}

/// What may have changed since a process was attested.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) program: Option<Program>,
    pub(super) owner: (u32, u32),
}

impl Watched {
    pub(super) fn new(handle: Arc<ProcessHandle>, pid: u32) -> Arc<Self> {
        Arc::new(Self {
            handle,
            pid,
            death: OnceLock::new(),
            registering: Mutex::default(),
            last: Mutex::default(),
        })
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Looks at the process now. It was alive after all of this was read.
    pub(super) fn look(&self, proc: &ProcFs, programs: bool) -> Result<Facts, ProcessError> {
        let alive = || anchor::is_alive(self.pidfd());
        let read = || {
            let folder = proc.folder(self.pid)?;
            let at = folder.as_fd();
            let program = programs.then(|| Program::of(at)).transpose()?;
            let owner = owner(at)?;
            Ok(Facts { program, owner })
        };
        let facts = read();
        // Last, so that the above was about the process that connected; and
        // with precedence, since of a dead process nothing can be read.
        alive().and(facts)
    }

    /// As [`Watched::look`], or what was seen a moment ago, if that is after `due`:
    /// when what is to be sent became due.
    pub(super) fn look_since(
        &self,
        due: Duration,
        proc: &ProcFs,
        programs: bool,
        clock: &Clock,
    ) -> Result<Facts, ProcessError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.boottime();
        if let Some((at, facts)) = *last
            && at > due
            && now.saturating_sub(at) < SHARED_FOR
        {
            return Ok(facts);
        }
        let facts = self.look(proc, programs)?;
        *last = Some((now, facts));
        Ok(facts)
    }

    /// Makes sure that its end will be noticed. Inside the tokio runtime.
    pub(super) fn watch(&self) -> Result<(), ProcessError> {
        // One at a time: the event loop takes a descriptor once.
        let _turn = self
            .registering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.death.get().is_none() {
            let death = register(Arc::clone(&self.handle));
            let death = death.map_err(|error| ProcessError::Unreadable {
                what: "the end",
                why: error.kind().to_string(),
            })?;
            let _is_first = self.death.set(death);
        }
        Ok(())
    }

    /// Completes when the process has ended.
    pub(super) async fn ended(&self) {
        match self.death.get() {
            // An error means that the event loop is gone: an end as well.
            Some(death) => drop(death.readable().await),
            None => std::future::pending().await,
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; what that asks for holds: the descriptor is owned and never replaced"
)]
fn register(handle: Arc<ProcessHandle>) -> std::io::Result<AsyncFd<Arc<ProcessHandle>>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}

/// The processes that have connections, by the number of their handle's descriptor:
/// no other has it while it is open.
#[derive(Debug, Default)]
pub(super) struct AllWatched(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_handle: HashMap<RawFd, Weak<Watched>>,
    sweep_at: usize,
}

impl AllWatched {
    /// The process behind a handle that connections share.
    pub(super) fn of(&self, handle: &Arc<ProcessHandle>, pid: u32) -> Arc<Watched> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = handle.as_raw_fd();
        if let Some(watched) = known.by_handle.get(&number).and_then(Weak::upgrade) {
            return watched;
        }
        if known.by_handle.len() >= known.sweep_at {
            known
                .by_handle
                .retain(|_, watched| watched.strong_count() > 0);
            known.sweep_at = (known.by_handle.len() * 2).max(SWEPT);
        }
        let watched = Watched::new(Arc::clone(handle), pid);
        known.by_handle.insert(number, Arc::downgrade(&watched));
        watched
    }
}
