//! What is promised of a busy trust domain in figures: keys that live for seconds, and
//! how fast a revocation is everywhere.
//!
//! A test binary of its own: while it runs, no other test competes for the processors.
//! Its tests take turns for the same reason.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what is wrong by failing"
)]

mod revocation;
mod rotation;

/// Held by the test whose turn it is.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
