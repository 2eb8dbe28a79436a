//! The tests that every attestor must pass, whatever its technology. An
//! attestor's own tests call these and add what only it can know.

mod node;
mod process;
mod workload;

pub use node::{CountingHost, node};
pub use process::{Ask, StillProcess};
pub use workload::workload;

#[cfg(test)]
mod planted;
