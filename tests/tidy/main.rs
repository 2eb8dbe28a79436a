//! The project's own rules, held by tests: who may import whom, how long files
//! get, that every member inherits the lints, that docs point at what exists.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod docs;
mod files;
mod floors;
mod generated;
mod manifests;
mod metrics;
