//! SPIFFE conformance: the Stable documents of spiffe/spiffe at 665a28f3
//! (SPIFFE-ID, X509-SVID, JWT-SVID, Workload API, Workload Endpoint), row by row
//! against the shipped programs.
//!
//! `rows.txt` lists every requirement with its level and whom it binds. A row is
//! tested by a function that begins with its id (`wapi_24_…`; `x509_9_13_…` tests
//! two); `coverage` fails when a row has no test and no reason for that. The rows
//! of one file share a trust domain and run in order; a failure names its row.
//!
//! What a relying party must refuse comes from a foreign trust domain, `f.test`,
//! whose every key the tests hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod coverage;
mod foreign;
mod issued_jwt;
mod issued_x509;
mod jwt_validator;
mod rows;
mod spiffe_id;
mod unusual_names;
mod workload_api;
mod workload_endpoint;
mod workload_tokens;
mod world;
mod x509_validator;
