//! Workload selectors of a program outside this tree.
//!
//! An attestor that nobody here wrote runs as a child of the agent and speaks
//! SPIRE's plug-in protocol, so those written for SPIRE (the `WorkloadAttestor`
//! type) work unchanged. This crate holds what is decided: the protocol's
//! messages ([`wire`]), the line by which a plug-in says where it listens
//! ([`Handshake`]), and what its answer is worth ([`External`]). Starting,
//! watching and calling the program is the host's part ([`Plugin`]).
//!
//! A plug-in is asked about a *number*, since that is all its protocol has. The
//! host holds the process's handle meanwhile, and what a plug-in said counts
//! only if the process still lives and is the same program and user afterwards:
//! so the number was the process's own all along. What the plug-in makes of the
//! number is its own affair; a plug-in that reads files by a path the process
//! gave is fooled here as it is under SPIRE.
//!
//! A plug-in states selectors of its own name alone.

mod handshake;
pub mod wire;

use std::sync::Arc;

use contract::{Inspect, InspectError, Process};
use identity::Selector;

pub use handshake::{Handshake, HandshakeError, MAX_HANDSHAKE_BYTES};

/// The most selectors of one answer.
pub const MAX_SELECTORS: usize = 128;

/// The host's way to a running plug-in.
pub trait Plugin: Send + Sync {
    /// The selector values that the plug-in states of the process numbered
    /// `pid`. `may_wait` is [`Process::may_wait`].
    ///
    /// # Errors
    /// The plug-in does not run, failed, or did not answer in time;
    /// [`contract::ProcessError::WouldBlock`] when nobody may wait.
    fn attest(&self, pid: i32, may_wait: bool) -> Result<Vec<String>, InspectError>;
}

/// An attestor outside this tree.
pub struct External {
    name: &'static str,
    plugin: Arc<dyn Plugin>,
}

impl External {
    /// An attestor of that name, which is the kind of its selectors. The name
    /// lives as long as the program, as those of all attestors do.
    #[must_use]
    pub fn new(name: &'static str, plugin: Arc<dyn Plugin>) -> Self {
        Self { name, plugin }
    }

    fn failed(&self, why: &str) -> InspectError {
        InspectError::Unavailable(format!("the attestor {} {why}", self.name))
    }
}

impl Inspect for External {
    fn kind(&self) -> &'static str {
        self.name
    }

    fn inspect(&self, process: &dyn Process) -> Result<Vec<Selector>, InspectError> {
        let Ok(pid) = i32::try_from(process.pid()) else {
            return Err(self.failed("cannot be asked about so high a number"));
        };
        let values = self.plugin.attest(pid, process.may_wait())?;
        if values.len() > MAX_SELECTORS {
            return Err(self.failed("stated too many selectors"));
        }
        let mut stated = Vec::with_capacity(values.len());
        for value in values {
            // An empty value would be the bare name and look like a wildcard.
            if value.is_empty() {
                return Err(self.failed("stated an empty selector"));
            }
            let selector = Selector::new(self.name, &value).map_err(|source| {
                let what = "of a plug-in";
                InspectError::Selector { what, source }
            })?;
            stated.push(selector);
        }
        stated.sort_unstable();
        stated.dedup();
        Ok(stated)
    }
}

#[cfg(test)]
mod tests;
