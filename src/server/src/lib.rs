//! The issuer: attest, issue, sync, audit. Floor 3.
//!
//! A shell: it owns the clock, the randomness, the sockets and the files, and
//! hands them to crates that own none. One value, `server::Server`, is what every
//! service is given; `Server::build` makes it, in one readable function.

mod attest;
mod audit;
mod authorities;
mod authz;
mod budget_rows;
mod budgets;
mod caller;
pub mod clock;
mod clock_guard;
pub mod config;
mod described;
mod duties;
mod entropy;
mod failure;
mod grpc;
mod health;
mod housekeeping;
mod issue;
mod key_storage;
pub mod limits;
mod listeners;
mod metrics;
mod open;
mod process;
mod revocation;
#[cfg(test)]
mod rig;
mod run;
mod secrets;
mod server;
mod state;
mod tokens;
mod upstream;
mod validate;

pub use clock::Clock;
pub use config::{Config, ConfigError, Settings};
pub use described::METRICS;
pub use key_storage::{KeysFailure, seal_files};
pub use listeners::ListenError;
pub use open::StorageFailure;
pub use run::{RunError, run, run_until, run_with};
pub use secrets::SecretFailure;
pub use server::Ready;
pub use validate::{Finding, Inspection, inspect};
