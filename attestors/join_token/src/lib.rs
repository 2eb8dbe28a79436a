//! Node attestation by a join token: a secret that an admin makes, carries to
//! one node, and that works once.
//!
//! Nothing is ever compared with the secret. The server keeps SHA-256 of each
//! token; a node's evidence is hashed and looked up. That the token works once
//! is the work of the commit that makes the node: it deletes the row of
//! [`contract::OneTime`] on the condition that it is there, so that of any
//! number of tries, at any number of servers, one succeeds.
//!
//! The agent's ID holds the first half of that hash. It tells the nodes apart
//! and reveals nothing of the token.

mod prove;
mod token;
mod verify;

pub use prove::JoinTokenProver;
pub use token::{
    DEFAULT_TTL, JoinToken, JoinTokenError, MAX_TOKEN_BYTES, MIN_TOKEN_BYTES, RandomnessFailed,
};
pub use verify::JoinTokenVerifier;

/// The attestor's name on the wire, in agent IDs and in configuration.
pub const KIND: &str = "join_token";
