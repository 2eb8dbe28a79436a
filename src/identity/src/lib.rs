//! The values everything else speaks of: trust domains, SPIFFE IDs, selectors,
//! registration entries, nodes, bundles and SVIDs.
//!
//! Parse, don't validate: a value that exists is valid, and nothing here has a
//! setter. This crate is floor 0: it imports none of ours, does no I/O, sees no
//! clock and knows no encoding but the textual ones the SPIFFE standards define.

mod bundle;
mod calendar;
mod entry;
mod entry_id;
mod node;
mod revocation;
mod selector;
mod selector_index;
mod spiffe_id;
mod svid;
#[cfg(test)]
mod tests;
mod time;
mod trust_domain;
mod view_digest;

pub use bundle::{Bundle, JwtAuthorityKey, X509AuthorityCertificate};
pub use calendar::{date_of, day_of};
pub use entry::{
    Entry, EntryError, EntryFields, MAX_DNS_NAMES, MAX_FEDERATES_WITH, MAX_HINT_BYTES,
    check_dns_names, dns_name_fault,
};
pub use entry_id::{EntryId, EntryIdError};
pub use node::{CertificateSerial, Node};
pub use revocation::{
    MAX_JTI_BYTES, REVOCATION_LIST_TYPE, Revocation, RevocationList, Revoked, RevokedError,
};
pub use selector::{MAX_SELECTORS, Selector, SelectorError, Selectors};
pub use selector_index::{ConditionIndex, FactIndex};
pub use spiffe_id::{MAX_SPIFFE_ID_BYTES, SpiffeId, SpiffeIdError};
pub use svid::{JwtSvid, PrivateKeyDer, X509Svid};
pub use time::{Seconds, Timestamp};
pub use trust_domain::{MAX_TRUST_DOMAIN_BYTES, TrustDomain, TrustDomainError};
pub use view_digest::ViewDigest;
