//! Credentials on disk for software that reads files: never a torn pair, never a
//! key that others may read, and safe to read at any moment.
//!
//! Every change is a new generation, a folder of its own that is complete and
//! synced before one symbolic link is renamed onto it. The plain names beside the
//! link lead through it, so software with fixed paths sees a change all at once.

mod folder;
mod guarded;
mod ownership;

pub(crate) use folder::{Folder, NewFile};
pub(crate) use ownership::Ownership;
