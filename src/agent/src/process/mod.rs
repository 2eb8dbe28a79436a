//! Who is calling: the host's half of workload attestation.
//!
//! A number is not a process. The kernel hands out a pidfd for the process
//! that connected; every look at `/proc` is bracketed by the question whether
//! that process still lives (`anchor`). What a look found (`snapshot`) is
//! given to the attestors and held against the process again when they are
//! done, and only then counts (`attest`).
//!
//! | attack | answer |
//! |---|---|
//! | the caller exits, a victim gets its pid | the pidfd is dead: [`ProcessError::Gone`] |
//! | the caller executes the victim's program after it connected | another program than at accept ([`Caller`]), or than before the attestors ran |
//! | the caller executes a setuid program | real, effective and saved ids must all be those of the socket's credentials |
//! | a child keeps the socket when the caller is dead | the pidfd is asked on each call and each push, and ends streams ([`Liveness`]) |
//! | the caller names its program as it likes (mount namespace, unlink, memfd) | a path counts only if it leads the agent to the same file |
//! | names with parentheses, new lines, any bytes | `parse` takes no field that a name can reach |
//!
//! What this cannot tell: which of several processes that share a socket wrote
//! a request. A process speaks for whoever it hands its connection to, and a
//! program that is executed *before* the agent accepted the connection cannot
//! be told from one that connected by itself. Neither crosses a user: inside
//! one uid a path or hash never was a boundary, since `LD_PRELOAD` and `ptrace`
//! reach there too.
//!
//! Kernels before 6.5 hand out no pidfd. Then one is opened by number at
//! accept, and the answer is marked [`contract::Strength::Weak`], which
//! [`Options::refuse_weak`] refuses.

mod anchor;
mod attest;
mod by_number;
mod gate;
mod hash;
mod liveness;
mod names;
mod numbers;
mod parse;
mod proc_fs;
mod program;
mod snapshot;
mod watched;
mod witness;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contract::ProcessError;

pub use attest::{AttestError, Attested, Caller};
pub use liveness::Liveness;

use crate::clock::Clock;
use gate::Gate;
use hash::Hashes;
use names::Names;
use numbers::Numbers;
use proc_fs::ProcFs;
use watched::AllWatched;

/// How processes are looked at.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where `/proc` is mounted.
    pub proc_root: PathBuf,
    /// Whether to look at programs at all. Without, an agent needs no
    /// privileges over other users' processes, but no attestor can state a path
    /// or a hash, and that a process became another program is not noticed
    /// (that it became another user still is).
    pub programs: bool,
    /// Whether to refuse processes that the kernel (before 6.5) gives no handle
    /// for.
    pub refuse_weak: bool,
    /// The most attestations that wait for files or user databases at once.
    pub blocking_calls: usize,
    /// The most of them for one uid.
    pub blocking_calls_per_uid: usize,
    /// How long one attestation may take, waiting for its turn included.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            proc_root: PathBuf::from("/proc"),
            programs: true,
            refuse_weak: false,
            blocking_calls: 16,
            blocking_calls_per_uid: 4,
            deadline: Duration::from_secs(6),
        }
    }
}

/// The host's eyes on processes: an open `/proc`, and what is remembered of
/// programs and names. One for each agent.
#[derive(Debug)]
pub struct ProcessHost {
    options: Options,
    proc: ProcFs,
    numbers: Numbers,
    clock: Clock,
    hashes: Hashes,
    users: Names,
    groups: Names,
    gate: Gate,
    watched: AllWatched,
}

impl ProcessHost {
    /// Opens `/proc`.
    ///
    /// # Errors
    /// It cannot be opened or is no proc file system.
    pub fn new(options: Options) -> Result<Arc<Self>, ProcessError> {
        let proc = ProcFs::open(&options.proc_root)?;
        Ok(Self::assemble(options, proc, Clock::system()))
    }

    /// A host over any folder in place of `/proc`, and any clock.
    #[cfg(test)]
    fn for_tests(options: Options, clock: Clock) -> Result<Arc<Self>, ProcessError> {
        let proc = ProcFs::open_any(&options.proc_root)?;
        Ok(Self::assemble(options, proc, clock))
    }

    fn assemble(options: Options, proc: ProcFs, clock: Clock) -> Arc<Self> {
        let gate = Gate::new(options.blocking_calls, options.blocking_calls_per_uid);
        let numbers = Numbers::read(&proc);
        Arc::new(Self {
            options,
            proc,
            numbers,
            clock,
            hashes: Hashes::default(),
            users: Names::users(),
            groups: Names::groups(),
            gate,
            watched: AllWatched::default(),
        })
    }
}

#[cfg(test)]
mod tests;
