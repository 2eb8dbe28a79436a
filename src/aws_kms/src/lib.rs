//! Signing keys in AWS KMS.
//!
//! A key is made in KMS and never leaves it. It is found again by its alias, and then
//! used by its own id, so that whoever moves an alias moves no key. Each signature
//! is verified before it is used.
//!
//! Four handfuls of calls do not carry an SDK: requests are signed by hand
//! (module `sigv4`) and sent over HTTP/1.1. The crate has a runtime of one thread for
//! that; whoever calls it blocks, for no longer than the budget given.
//!
//! It reads neither clock nor environment: both are arguments.

mod call;
mod credentials;
mod endpoint;
mod exchange;
mod fault;
mod limits;
mod signer;
mod sigv4;
mod storage;
mod utc;

pub use credentials::{CredentialsFrom, Secret};
pub use endpoint::{Endpoint, EndpointError};
pub use storage::{KmsKeys, KmsOptions};
