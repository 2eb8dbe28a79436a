//! Entries, nodes and bundles in memory, indexed for one question: which
//! entries is this agent authorised for?
//!
//! Pure: `apply(change)` moves the state, everything else reads it. Push sync,
//! polling, explain, bans and the per-call authorisation all read this one view.
//! Nothing here sees a clock, a store or a socket; `now` is an argument.
//!
//! ```
//! # use std::sync::Arc;
//! # use identity::*;
//! # use registry::{Change, Registry};
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let td = TrustDomain::parse("example.org")?;
//! # let agent = SpiffeId::new(&td, "/spire/agent/join_token/a1")?;
//! # let node = Node { id: agent.clone(), attestor: "join_token".into(), selectors: Selectors::default(),
//! #     serial: CertificateSerial::new(&[1]), expires_at: Timestamp(9), next: None, banned: false,
//! #     can_reattest: false, agent_version: String::new(), attested_at: Timestamp(0) };
//! # let entry = Entry::new(EntryFields { id: EntryId::parse("e1")?, spiffe_id: SpiffeId::new(&td, "/db")?,
//! #     parent_id: agent.clone(), selectors: Selectors::new(vec![Selector::parse("unix:uid:1")?])?,
//! #     x509_ttl: None, jwt_ttl: None, federates_with: vec![], admin: false, downstream: false,
//! #     expires_at: None, dns_names: vec![], revision: 0, store_svid: false, hint: String::new(),
//! #     created_at: Timestamp(0), disable_x509_prefetch: false, jwt_include_jti: false }, &td)?;
//! let mut registry = Registry::new(td);
//! let _ = registry.apply(Change::PutNode(Arc::new(node)));
//! let touched = registry.apply(Change::PutEntry(Arc::new(entry)));
//! assert!(touched.contains(&agent), "push to this agent");
//!
//! let now = Timestamp(0);
//! assert_eq!(registry.authorised(&agent, now).len(), 1);
//! assert!(registry.is_authorised(&agent, &EntryId::parse("e1")?, now).is_some());
//! # Ok(()) }
//! # run().unwrap();
//! ```

mod authorise;
mod change;
mod filter;
mod registry;
mod revocations;
mod slots;
#[cfg(test)]
mod tests;
mod view;

pub use change::{Change, Touched};
pub use filter::{EntryFilter, Match, NodeFilter, Page};
pub use identity::ViewDigest;
pub use registry::{Counts, Registry};
pub use view::{Delta, delta, sort_in_creation_order};
