//! The registry's property tests; see `oracle` for what they compare with.

mod authorisation;
mod listing;
mod oracle;
mod revocations;
