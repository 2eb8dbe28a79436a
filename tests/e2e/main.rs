//! The shipped server, agent and command line as real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod attestors;
mod audit;
mod bad_input;
mod declarative;
mod dev;
mod entries;
mod explain;
mod federation;
mod files;
mod guides;
mod health;
mod hsm;
mod joining;
mod journal;
mod json_api;
mod json_attacks;
mod keys;
mod kms;
mod new_attestor;
mod nginx;
mod nodes;
mod operation;
mod patience;
mod policy;
mod policy_folder;
mod postgresql;
mod restarts;
mod revocation;
mod secrets;
mod tampering;
mod units;
mod upstream;
mod watch;
mod workload;
mod x509_pop;
