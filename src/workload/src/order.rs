//! Which SVID comes first.
//!
//! The first SVID of a response is every client library's default identity, so
//! its place must not depend on chance. SPIRE sorts by random entry ids, and a
//! second entry can silently change what a service is. Here an admin sees the
//! rule and steers it.

use std::collections::HashSet;
use std::sync::Arc;

use identity::{Entry, EntryId, Timestamp};

/// The hint that puts an entry first.
pub const DEFAULT_HINT: &str = "default";

/// The key SVIDs are sorted by, smallest first:
///
/// 1. entries whose hint is exactly `default` ([`DEFAULT_HINT`]);
/// 2. then the older entry, by creation time;
/// 3. then by entry id, for entries of the same second.
///
/// So a service keeps its identity when a second entry is added, until an admin
/// says otherwise by giving the new entry the hint `default`.
///
/// ```
/// # use identity::{Entry, EntryFields, EntryId, Selector, Selectors, SpiffeId, Timestamp, TrustDomain};
/// # let td = TrustDomain::parse("example.org").unwrap();
/// # let entry = |id: &str, created_at, hint: &str| Entry::new(EntryFields {
/// #     id: EntryId::parse(id).unwrap(),
/// #     spiffe_id: SpiffeId::new(&td, "/service").unwrap(),
/// #     parent_id: SpiffeId::new(&td, "/spire/agent/x").unwrap(),
/// #     selectors: Selectors::new(vec![Selector::parse("unix:uid:1").unwrap()]).unwrap(),
/// #     x509_ttl: None, jwt_ttl: None, federates_with: vec![], admin: false, downstream: false,
/// #     expires_at: None, dns_names: vec![], revision: 0, store_svid: false, hint: hint.into(),
/// #     created_at: Timestamp(created_at), disable_x509_prefetch: false, jwt_include_jti: false,
/// # }, &td).unwrap();
/// use workload::svid_order;
/// let (older, newer) = (entry("b", 1, ""), entry("a", 2, ""));
/// assert!(svid_order(&older) < svid_order(&newer));
/// let chosen = entry("c", 3, "default");
/// assert!(svid_order(&chosen) < svid_order(&older));
/// ```
#[must_use]
pub fn svid_order(entry: &Entry) -> (bool, Timestamp, &EntryId) {
    (entry.hint != DEFAULT_HINT, entry.created_at, &entry.id)
}

/// Brings entries that match one caller into the order they are delivered in.
/// Of entries with one hint only the first stays: a hint is unique in a response
/// (Workload API 5.2.1). Entries without a hint all stay.
pub(crate) fn arrange(entries: &mut Vec<Arc<Entry>>) {
    entries.sort_unstable_by(|a, b| svid_order(a).cmp(&svid_order(b)));
    let mut seen = HashSet::new();
    let unique: Vec<bool> = entries
        .iter()
        .map(|e| e.hint.is_empty() || seen.insert(e.hint.as_str()))
        .collect();
    let mut unique = unique.into_iter();
    entries.retain(|_| unique.next().unwrap_or(true));
}
