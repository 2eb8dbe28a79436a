//! The words of authorization: what services offer (the permission catalogue),
//! what a workload asks for, what was decided and why.
//!
//! Pure, floor 1: it reads texts, never files; it sees no clock and no network;
//! it holds no policy engine. Servers decide with crate `pdp`; agents and
//! verifiers need only these words: which permission an endpoint asks for, and
//! whether `authorization_details` have the form the service declared.

mod admit;
pub mod catalogue;
mod date;
mod decision;
mod digest;
mod duration;
mod expiry;
mod fault;
pub mod limits;
mod names;
mod nesting;
mod principal;
mod record;
mod refusal;
mod request;
mod source;
mod stack;
#[cfg(test)]
mod tests;

pub use admit::{Wanted, WantedPermission, admit, nearest_name};
pub use catalogue::{Catalogue, Details, Permission, Profile, Relaxed, Risk, Service};
pub use date::{day, rfc3339, rfc3339_text, weekday};
pub use decision::{
    Decision, Granted, NearMiss, Obligations, Outcome, PolicyRef, Rate, Refused, Warning,
};
pub use digest::{Digest, DigestError};
pub use duration::{duration_text, parse_duration};
pub use expiry::{Caps, Limit};
pub use fault::{Fault, Severity};
pub use names::{Audience, NameError, PermissionName};
pub use nesting::json_nesting;
pub use principal::{Binding, BreakGlass, EntryLimits, NodeFacts, Principal, RequestContext};
pub use record::{DecisionRecord, RecordedContext};
pub use refusal::{Refusal, RefusalCode};
pub use request::TokenRequest;
pub use source::{SourceFile, Sources};
pub use stack::on_large_stack;
