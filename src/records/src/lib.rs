//! Typed, versioned encodings of what store and journal hold.
//!
//! The store and the journal see bytes only; this crate is where those bytes get
//! a meaning. Every record is wrapped in an envelope that names its kind, the
//! schema it was written in and the oldest program that may still read and
//! overwrite it, so that a downgraded server refuses instead of losing fields
//! (see [`SCHEMA`] and [`RecordError::FutureSchema`]).
//!
//! The wire structs are private: nothing outside can depend on a field number.

mod audit;
mod authority;
mod bundle;
mod entry;
mod envelope;
mod error;
mod grants;
pub mod key;
mod node;
mod policy;
mod revocation;
#[cfg(test)]
mod tests;
mod token;
mod trust;

pub use audit::{Audit, AuditKind, AuditOutcome, AuditRecord, Caller};
pub use authority::{
    AuthorityProfile, AuthorityRecord, AuthorityState, decode_authority, encode_authority,
};
pub use bundle::{decode_bundle, decode_own_bundle, encode_bundle, encode_own_bundle};
pub use entry::{decode_entry, encode_entry};
pub use envelope::{MAX_RECORD_BYTES, SCHEMA};
pub use error::RecordError;
pub use grants::{
    BreakGlassRecord, TokenLimitsRecord, decode_break_glass, decode_token_limits,
    encode_break_glass, encode_token_limits,
};
pub use node::{decode_node, encode_node};
pub use policy::{
    ActivationRecord, PolicyFile, decode_activation, decode_policy_set, encode_activation,
    encode_policy_set,
};
pub use revocation::{
    decode_revocation, decode_revocation_sequence, encode_revocation, encode_revocation_sequence,
};
pub use token::{JoinTokenRecord, decode_token, encode_token};
pub use trust::{Owned, TrustOwner, TrustRecord, decode_trust, encode_trust};
