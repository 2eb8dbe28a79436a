//! The harness the suites share: a trust domain of real processes in a folder
//! of its own, driven by the shipped command line, gone when the test ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod clock;
mod domain;
pub mod guide;
mod machine;
mod other_node;
mod peers;
mod pki;
mod process;
mod server_endpoint;
mod wait;
mod workload;

pub use clock::{moment, now};
pub use domain::{Domain, Settings};
pub use machine::{descriptors, free_port, need_root, resident_kib};
pub use other_node::{OtherNode, check};
pub use peers::peer;
pub use pki::Pki;
pub use process::{Process, Ran, bulla, program};
pub use server_endpoint::{ServerEndpoint, certification_request, unix, wire_id};
pub use wait::{eventually, eventually_within};
pub use workload::{client_that_takes_nothing, with_header, workload_client};
