//! Tables of good and bad values, properties, and a comparison with the parser of
//! crate `spiffe`, which nobody here wrote.

mod entries;
mod others;
mod revocations;
mod selectors;
mod spiffe_ids;
mod trust_domains;
