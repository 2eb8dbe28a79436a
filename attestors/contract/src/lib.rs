//! What an attestor is.
//!
//! Attestors state facts; only the server names identities. A *node* attestor
//! has two halves: the agent's [`Prove`] and the server's [`Verify`]. A
//! *workload* attestor has one, [`Inspect`], which turns a process into
//! selectors. What an attestor needs of the world (randomness, `/proc`, the
//! user database) it asks of its host through [`VerifyHost`] and [`Process`],
//! so that limits, deadlines and races are dealt with once and not in each
//! attestor.
//!
//! [`battery`] holds the tests that each attestor must pass.

pub mod battery;
mod node;
mod node_key;
mod process;
mod workload;

pub use node::{
    Evidence, Exchange, Facts, HostError, Limits, OneTime, Prove, ProveError, ProveStep, Verdict,
    Verify, VerifyError, VerifyHost, advance,
};
pub use node_key::{MAX_NODE_KEY_BYTES, NodeKey, NodeKeyError};
pub use process::{ControlGroup, Executable, ExecutablePath, Process, ProcessError, Strength};
pub use workload::{Attestor, Inspect, InspectError, Stated, inspect_all};
