//! Signing keys in a PKCS#11 token: a hardware security module, a smart card, or a
//! program that behaves like one.
//!
//! Keys are made inside, marked sensitive and not extractable, and found again by
//! their label. Only digests go in and signatures come out; each signature is
//! verified before it is used. Its own crate because it loads a foreign library into
//! the process: a node's agent holds nothing of it.
//!
//! What may block for long blocks the calling thread. Nothing here knows of an async
//! runtime; callers go where blocking is allowed ([`keys::Signer::is_remote`]).

mod fault;
mod find;
mod generate;
mod limits;
mod session;
mod signer;
mod storage;
mod token;

pub use storage::{TokenKeys, TokenOptions};
