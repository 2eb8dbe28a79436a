//! What the journal says about each attestation, issuance and admin change:
//! who asked, for whom, by which entry, with which result and why.
//!
//! [`Audit`] borrows, so that the hot path writes a record without formatting
//! and without copying; [`AuditRecord`] is what a reader gets back.

mod kind;
mod read;
mod show;
mod wire;
mod write;

pub use kind::{AuditKind, AuditOutcome, Caller};
pub use read::AuditRecord;
pub use write::Audit;
