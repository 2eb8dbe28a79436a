//! Registration entries: which SPIFFE ID a workload with certain selectors,
//! under a certain parent, is given, and with which contents.

use std::ops::Deref;

use crate::{EntryId, Seconds, Selectors, SpiffeId, Timestamp, TrustDomain};

/// The longest hint, in bytes (Workload API section 8).
pub const MAX_HINT_BYTES: usize = 1024;
/// The most DNS names in one entry.
pub const MAX_DNS_NAMES: usize = 64;
/// The most federated trust domains in one entry.
pub const MAX_FEDERATES_WITH: usize = 64;

/// What an entry says, before it has been checked. [`Entry::new`] checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFields {
    /// The entry's own name.
    pub id: EntryId,
    /// The SPIFFE ID its workloads receive.
    pub spiffe_id: SpiffeId,
    /// The agent, node alias or entry it hangs under.
    pub parent_id: SpiffeId,
    /// All of these must be attested.
    pub selectors: Selectors,
    /// Lifetime of X.509-SVIDs; `None` takes the server's default.
    pub x509_ttl: Option<Seconds>,
    /// Lifetime of JWT-SVIDs; `None` takes the server's default.
    pub jwt_ttl: Option<Seconds>,
    /// Trust domains whose bundles the workload also receives.
    pub federates_with: Vec<TrustDomain>,
    /// Whether the SVID may call the server API as an admin.
    pub admin: bool,
    /// Whether the SVID may ask for a downstream CA.
    pub downstream: bool,
    /// From when on the entry no longer counts; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// DNS SANs of the X.509-SVID, in the order given; the first becomes the CN.
    pub dns_names: Vec<String>,
    /// Counts the entry's changes, from 0.
    pub revision: i64,
    /// Whether the SVID is meant for an external store instead of the Workload API.
    pub store_svid: bool,
    /// Tells a workload with several identities which is which.
    pub hint: String,
    /// When the entry was created.
    pub created_at: Timestamp,
    /// Whether agents leave the X.509-SVID until a workload asks.
    pub disable_x509_prefetch: bool,
    /// Kept for stock tools; a `jti` is in every JWT-SVID anyway.
    pub jwt_include_jti: bool,
}

/// A checked registration entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(EntryFields);

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The SPIFFE ID is of another trust domain.
    #[error(
        "SPIFFE ID {id} is not in trust domain {trust_domain}; this server can only issue for its own"
    )]
    ForeignId {
        /// The refused ID.
        id: SpiffeId,
        /// The server's trust domain.
        trust_domain: TrustDomain,
    },
    /// The parent is of another trust domain.
    #[error("parent ID {id} is not in trust domain {trust_domain}")]
    ForeignParent {
        /// The refused ID.
        id: SpiffeId,
        /// The server's trust domain.
        trust_domain: TrustDomain,
    },
    /// The SPIFFE ID has no path.
    #[error("SPIFFE ID {0} has no path; a workload's ID needs one, such as {0}/service")]
    NoPath(SpiffeId),
    /// The SPIFFE ID is under `/spire/`.
    #[error("SPIFFE ID {0} is under /spire/, which is reserved for servers and agents")]
    Reserved(SpiffeId),
    /// The parent has no path.
    #[error("parent ID {0} has no path; give an agent's, a node alias's or /spire/server")]
    ParentNoPath(SpiffeId),
    /// No selector.
    #[error("entry has no selectors; give at least one, such as unix:uid:1000")]
    NoSelectors,
    /// The hint is too long.
    #[error("hint has {0} bytes; at most {MAX_HINT_BYTES} are allowed")]
    HintTooLong(usize),
    /// The hint has a control character.
    #[error("hint has a control character")]
    HintControl,
    /// Too many DNS names.
    #[error("{0} DNS names given; at most {MAX_DNS_NAMES} are allowed")]
    TooManyDnsNames(usize),
    /// A DNS name that is none.
    #[error("{name:?} is not a DNS name: {why}")]
    DnsName {
        /// The refused name.
        name: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Too many federated trust domains.
    #[error("{0} federated trust domains given; at most {MAX_FEDERATES_WITH} are allowed")]
    TooManyFederated(usize),
    /// The entry federates with its own trust domain.
    #[error("entry federates with its own trust domain {0}; its bundle is always sent")]
    FederatesWithSelf(TrustDomain),
}

impl Entry {
    /// Checks an entry for a server of `trust_domain`.
    ///
    /// DNS names keep their order, repeats after the first are dropped.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn new(mut fields: EntryFields, trust_domain: &TrustDomain) -> Result<Self, EntryError> {
        check_ids(&fields, trust_domain)?;
        if fields.selectors.is_empty() {
            return Err(EntryError::NoSelectors);
        }
        if fields.hint.len() > MAX_HINT_BYTES {
            return Err(EntryError::HintTooLong(fields.hint.len()));
        }
        if fields.hint.contains(char::is_control) {
            return Err(EntryError::HintControl);
        }
        check_dns_names(&mut fields.dns_names)?;
        fields.federates_with.sort();
        fields.federates_with.dedup();
        if fields.federates_with.len() > MAX_FEDERATES_WITH {
            return Err(EntryError::TooManyFederated(fields.federates_with.len()));
        }
        if fields.federates_with.contains(trust_domain) {
            return Err(EntryError::FederatesWithSelf(trust_domain.clone()));
        }
        Ok(Self(fields))
    }

    /// The fields, to change a copy and check it again.
    #[must_use]
    pub fn into_fields(self) -> EntryFields {
        self.0
    }

    /// Lets the entry share memory with another under the same parent: the parent
    /// ID and selectors that both have. Changes nothing that can be seen.
    pub fn share_with(&mut self, sibling: &Self) {
        if self.0.parent_id == sibling.parent_id {
            self.0.parent_id = sibling.parent_id.clone();
        }
        self.0.selectors.share_with(&sibling.selectors);
    }

    /// Whether the entry no longer counts at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.0.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether the entry groups nodes: its parent is `/spire/server`.
    #[must_use]
    pub fn is_node_alias(&self) -> bool {
        self.0.parent_id.is_server()
    }

    /// Whether two entries would be one: same SPIFFE ID, parent and selectors.
    #[must_use]
    pub fn is_same_registration(&self, other: &Self) -> bool {
        self.spiffe_id == other.spiffe_id
            && self.parent_id == other.parent_id
            && self.selectors == other.selectors
    }
}

impl Deref for Entry {
    type Target = EntryFields;
    fn deref(&self) -> &EntryFields {
        &self.0
    }
}

fn check_ids(fields: &EntryFields, trust_domain: &TrustDomain) -> Result<(), EntryError> {
    let (id, parent) = (&fields.spiffe_id, &fields.parent_id);
    if !id.is_member_of(trust_domain) {
        return Err(EntryError::ForeignId {
            id: id.clone(),
            trust_domain: trust_domain.clone(),
        });
    }
    if !id.has_path() {
        return Err(EntryError::NoPath(id.clone()));
    }
    if id.is_reserved() {
        return Err(EntryError::Reserved(id.clone()));
    }
    if !parent.is_member_of(trust_domain) {
        let trust_domain = trust_domain.clone();
        return Err(EntryError::ForeignParent {
            id: parent.clone(),
            trust_domain,
        });
    }
    if !parent.has_path() {
        return Err(EntryError::ParentNoPath(parent.clone()));
    }
    Ok(())
}

/// Checks DNS names as an entry may have them; repeats after the first are dropped.
///
/// # Errors
/// There are too many, or one is none.
pub fn check_dns_names(names: &mut Vec<String>) -> Result<(), EntryError> {
    if names.len() > MAX_DNS_NAMES {
        return Err(EntryError::TooManyDnsNames(names.len()));
    }
    for name in names.iter() {
        if let Some(why) = dns_name_fault(name) {
            return Err(EntryError::DnsName {
                name: name.clone(),
                why,
            });
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(())
}

/// Why a text is no DNS name of a certificate; `None` when it is one: RFC 1123 host
/// names, with a single leading `*.` allowed; never an address.
#[must_use]
pub fn dns_name_fault(name: &str) -> Option<&'static str> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    if bare.is_empty() || name.len() > 253 {
        return Some("it must have 1 to 253 characters");
    }
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !bare.split('.').all(label_ok) {
        return Some(
            "labels are 1 to 63 letters, digits, '-' or '_', not beginning or ending in '-'",
        );
    }
    let last = bare.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Some("it looks like an IP address");
    }
    None
}
