//! Append-only, group-committed, hash-chained log with receipts. Floor 0.
//!
//! Bytes only: what a payload means is the business of `records`. A [`Receipt`]
//! exists only for a record that is durable; it binds to the thing that the record
//! is about, so that floor 1 can refuse to sign without one.
//!
//! On disk: segment files named after their first record, each record chained to
//! the one before by SHA-256. A torn tail, which no one was ever told of, is cut at
//! open; damage to anything acknowledged is an error. What the files alone cannot
//! show, a cut tail, [`verify`] finds with a [`Head`] that was kept elsewhere.
//!
//! A journal that cannot write refuses appends, tries by itself until it can, and says
//! so in its [`Condition`]. Only damage to something acknowledged ends it for good.
//!
//! Absent on purpose: a clock, randomness, a runtime and any of our other crates.

mod anchor;
mod archive;
mod condition;
mod draft;
mod error;
#[cfg(feature = "planted-faults")]
mod fault;
mod frame;
mod handle;
mod limits;
mod options;
mod queue;
mod read;
mod scan;
mod sealed;
mod segment;
mod thread;
mod verify;
mod writer;

pub use archive::{Progress, archive, verify_archive};
pub use condition::Condition;
pub use draft::{Binding, Draft, Head, Priority, Receipt};
pub use error::{Fault, JournalError};
#[cfg(feature = "planted-faults")]
pub use fault::PlantedFault;
pub use handle::{Appending, Journal};
pub use options::Options;
pub use read::{Records, Stored, read};
pub use sealed::{Sealed, archived, note_archived, remove_through, removed, sealed};
pub use verify::{Verified, verify, verify_archived};
