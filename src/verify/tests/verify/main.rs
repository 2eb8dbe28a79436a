//! What a relying party accepts and refuses, rule by rule of the SPIFFE standards.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and makes its own randomness"
)]

mod bundle_format;
mod corpus;
mod differential;
mod dpop;
mod enforce;
mod jwt;
mod jwt_attacks;
mod kit;
mod name_constraints;
mod revocations;
mod scoped;
mod wycheproof;
mod x509;
