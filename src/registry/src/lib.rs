//! Entries, nodes and bundles in memory, indexed for one question: which
//! entries is this agent authorised for?
//!
//! Pure: `apply(change)` moves the state, everything else reads it. Push sync,
//! polling, explain, bans and the per-call authorisation all read this one view.
//! Nothing here sees a clock, a store or a socket; `now` is an argument.

mod authorise;
mod change;
mod filter;
mod registry;
mod slots;
#[cfg(test)]
mod tests;
mod view;

pub use change::{Change, Touched};
pub use filter::{EntryFilter, Match, NodeFilter, Page};
pub use identity::ViewDigest;
pub use registry::{Counts, Registry};
pub use view::{Delta, delta, sort_in_creation_order};
