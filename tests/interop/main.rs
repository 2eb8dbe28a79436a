//! Client libraries that nobody here wrote, as real processes against the real
//! agent: fetch, watch a renewal, validate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod client_guide;
mod envoy;
mod metrics;
mod openssl;
mod peers;
mod plugin;
mod rust_spiffe;
mod spire;
mod tokens;
