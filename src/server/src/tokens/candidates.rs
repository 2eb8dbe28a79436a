//! Registered workloads as the policies would see them: for plans and for the
//! questions who can and what can. What only a request brings is assumed.

use identity::{Entry, SpiffeId, Timestamp};
use policy::{Binding, EntryLimits, NodeFacts, Principal, RequestContext};

use super::Tokens;
use crate::limits;

/// What is assumed of what only a request brings.
pub(crate) const ASSUMPTIONS: [&str; 5] = [
    "the workload has the selectors that it was attested with when it last asked for a token, or else those of its registration entry, attested now",
    "a node known by another entry's SPIFFE ID was attested now, with no selectors",
    "the time is now, and the caller's address is not known",
    "the token is bound to the caller's certificate",
    "no break-glass is in force, and no token was minted in the last five minutes",
];

/// Whether workloads of an entry can have tokens at all.
fn can_have(entry: &Entry, now: Timestamp) -> bool {
    !entry.is_expired(now) && !entry.spiffe_id.is_reserved()
}

impl Tokens {
    /// The workloads of all entries that can have tokens, at most
    /// [`limits::MAX_CANDIDATES`].
    pub(super) fn candidates(&self) -> Vec<Principal> {
        self.candidates_where(|_| true)
    }

    /// How many entries that can have tokens are not among the candidates.
    pub(super) fn beyond_candidates(&self) -> usize {
        let now = self.0.parts.clock.now();
        let registry = self.0.parts.state.registry();
        let can = registry.entries().filter(|entry| can_have(entry, now));
        can.count().saturating_sub(limits::MAX_CANDIDATES)
    }

    /// The workloads of the entries that a condition chooses.
    pub(super) fn candidates_where(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Principal> {
        let state = &self.0.parts.state;
        let now = self.0.parts.clock.now();
        let entries: Vec<_> = {
            let registry = state.registry();
            let can = registry.entries().filter(|e| can_have(e, now) && wanted(e));
            can.take(limits::MAX_CANDIDATES).cloned().collect()
        };
        let attested = self.attested();
        let principals = entries.iter().filter_map(|entry| {
            // Limits that cannot be read are no limits to be ignored.
            let limits = self.limits_of(entry).ok()?;
            Some(Principal {
                spiffe_id: entry.spiffe_id.clone(),
                entry_id: entry.id.clone(),
                limits,
                selectors: attested
                    .of(&entry.id)
                    .unwrap_or_else(|| entry.selectors.clone()),
                attested_at: now,
                node: self.node_facts(&entry.parent_id, now),
            })
        });
        principals.collect()
    }

    pub(super) fn limits_of(&self, entry: &Entry) -> Result<EntryLimits, crate::failure::Failure> {
        let limits = self.0.parts.state.token_limits(&entry.id)?;
        Ok(
            limits.map_or_else(EntryLimits::default, |limits| EntryLimits {
                audiences: (!limits.audiences.is_empty()).then(|| limits.audiences.clone()),
                max_ttl: limits.max_ttl,
            }),
        )
    }

    /// What node attestation found of a node; of one that is none, nothing, `then`.
    pub(super) fn node_facts(&self, id: &SpiffeId, then: Timestamp) -> NodeFacts {
        let node = self.0.parts.state.registry().node(id).cloned();
        match node {
            Some(node) => NodeFacts {
                spiffe_id: node.id.clone(),
                attestor: node.attestor.clone(),
                selectors: node.selectors.clone(),
                attested_at: node.attested_at,
            },
            None => NodeFacts {
                spiffe_id: id.clone(),
                attestor: String::new(),
                selectors: identity::Selectors::default(),
                attested_at: then,
            },
        }
    }

    /// The circumstances that plans and questions suppose.
    pub(super) fn supposed(&self) -> RequestContext {
        RequestContext {
            now: self.0.parts.clock.now(),
            source_ip: None,
            binding: Some(Binding::Certificate([0; 32])),
            mints_5m: 0,
            break_glass: None,
        }
    }
}
