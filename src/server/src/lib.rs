//! The issuer: attest, issue, sync, audit. Floor 3.
//!
//! A shell: it owns the clock, the randomness, the sockets and the files, and
//! hands them to crates that own none. One value, [`server::Server`], is what
//! every service is given; `run` builds it, in one readable function.

pub mod caller;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod failure;
pub mod limits;

pub use config::{Config, ConfigError, Settings};
