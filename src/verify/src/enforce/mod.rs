//! The enforcement point of a service: a call arrives with a token; does the token
//! allow this call?
//!
//! The permission catalogue maps each endpoint of the service to one permission.
//! What it does not map is denied, so a new endpoint is closed until its owner has
//! said what it takes.

mod denied;
mod gate;
mod layer;

pub use denied::Denied;
pub use gate::{Allowed, Call, Gate, Trusted};
pub use layer::{Enforce, EnforceLayer, PeerCertificate};
