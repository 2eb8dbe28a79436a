//! The node agent: enrol, sync, renew, serve workloads. Floor 3.
//!
//! One agent runs on each node. It proves to the server what the node is
//! ([`run()`] shows the order of things), follows the registration entries it
//! is authorised for, makes the workloads' keys itself, and hands each local
//! process exactly the identities that the kernel's word about it entitles it
//! to. No code that mints is in this crate or below it.

mod admin;
mod attestors;
mod backoff;
mod clock;
pub mod config;
mod core;
mod delegated;
mod described;
mod disk;
mod duties;
mod enrol;
mod entropy;
mod explain;
mod health;
mod hub;
mod json_api;
mod limits;
mod listeners;
mod persist;
pub mod process;
mod readiness;
mod renew;
mod run;
mod scoped;
mod sds;
mod server_link;
mod sync;
mod systemd;
#[cfg(test)]
mod tests;
mod workload_api;

pub use config::{Config, ConfigError, JoinToken};
pub use described::METRICS;
pub use disk::DiskError;
pub use enrol::EnrolError;
pub use limits::Limits;
pub use run::{RunError, run};
pub use sds::Config as SdsConfig;
pub use server_link::LinkError;
