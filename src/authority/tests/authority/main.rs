//! What the authority promises, held against rcgen, jsonwebtoken, webpki and OpenSSL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and makes its own randomness"
)]

mod csr;
mod fleet;
mod issuing;
mod jwt;
mod kit;
mod openssl;
mod reference;
mod revocation;
mod rotation;
mod scoped;
mod simulation;
mod template;
mod upstream;
mod verdict;
mod world;
