//! Conversions between wire messages and `identity` values. What comes in is
//! parsed once, here, into values that cannot be wrong; every refusal names the
//! field. What goes out never fails.

mod bundle;
mod entry;
mod id;
mod node;
mod svid;

pub use bundle::{bundle_from_wire, bundle_to_wire, keys_from_wire, keys_to_wire, merge_bundle};
pub use entry::{EntryContext, entry_from_wire, entry_to_wire, merge_entry};
pub use id::{
    id_from_wire, id_to_wire, optional_id_from_wire, selectors_from_wire, selectors_to_wire,
    trust_domain_from_wire,
};
pub use node::{node_to_wire, serial_decimal};
pub use svid::{jwt_svid_to_wire, x509_svid_to_wire};

use std::fmt;

use crate::status::Kind;

/// A field of a request that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    field: &'static str,
    problem: String,
}

impl FieldError {
    /// Says which field (by its proto path) and what is wrong with it.
    #[must_use]
    pub fn new(field: &'static str, problem: impl fmt::Display) -> Self {
        Self {
            field,
            problem: problem.to_string(),
        }
    }

    /// The field's proto path.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for FieldError {}

impl From<FieldError> for tonic::Status {
    fn from(error: FieldError) -> Self {
        Kind::Invalid.status(error.to_string())
    }
}
