//! An agent's cache of what its workloads may have: entries, bundles, SVIDs.
//!
//! Pure: updates from the server and issued SVIDs go in; views for streams and
//! renewals that are due come out. `now` and jitter are arguments; the shell
//! owns the clock, the sockets and the disk.
//!
//! - A caller is a set of selectors. [`Cache::subscribe`] turns it into a
//!   [`ViewId`]; callers with equal selectors share one view.
//! - A caller may be known in part only, where an attestor does not answer
//!   ([`Caller`]): it is given what cannot be another for that.
//! - A view has a state for each stream of the Workload API: denied (no
//!   identity), pending (identities, but their SVIDs are on their way) or ready.
//!   Every ready view is the full set, never a delta (Workload API 4.3).
//! - [`Effects::changed`] names the views whose state moved. A stream keeps a
//!   [`Delivered`] and asks it what to do; it is told to send only what is new.
//! - SVIDs come in the order of [`svid_order`]; an admin steers it.

mod build;
mod cache;
mod caller;
mod held;
mod jwt;
mod limits;
mod near;
mod order;
mod renewal;
mod revoke;
mod shares;
#[cfg(test)]
mod tests;
mod trust;
mod update;
mod view;
mod views;

pub use cache::{Cache, Counts};
pub use caller::{Caller, Withheld};
pub use held::{Issued, Jitter};
pub use jwt::JwtHit;
pub use limits::Limits;
pub use near::{Lack, MAX_INSTEAD, NearMiss, NearMisses, Obstacle, near_misses};
pub use order::{DEFAULT_HINT, svid_order};
pub use revoke::Revoke;
pub use shares::{Room, Shares};
pub use update::{Effects, Update};
pub use view::{BundleView, Delivered, Identity, State, Step, Versioned, X509View};
pub use views::{TooManyViews, ViewId};
