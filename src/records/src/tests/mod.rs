//! Round trips of every record, and what damage and strangers are told.

mod audit;
mod envelope;
mod keys;
mod round_trips;
mod values;
