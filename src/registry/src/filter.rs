//! Listing entries and nodes: filters and pages.

use std::ops::Bound;
use std::sync::Arc;

use identity::{Entry, EntryId, Node, Selectors, SpiffeId, Timestamp, TrustDomain};

use crate::Registry;

/// How a set of the record is compared with the set asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The record's set is the one asked for.
    Exact,
    /// The record has nothing that was not asked for, and has something.
    Subset,
    /// The record has all that was asked for, maybe more.
    Superset,
    /// The record has at least one of those asked for.
    Any,
}

impl Match {
    /// Compares two sorted sets without repeats.
    fn holds<T: Ord>(self, record: &[T], asked: &[T]) -> bool {
        let within =
            |inner: &[T], outer: &[T]| inner.iter().all(|x| outer.binary_search(x).is_ok());
        match self {
            Self::Exact => record == asked,
            Self::Subset => !record.is_empty() && within(record, asked),
            Self::Superset => within(asked, record),
            Self::Any => record.iter().any(|x| asked.binary_search(x).is_ok()),
        }
    }
}

/// Which entries to list; all given conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Only entries that give this SPIFFE ID.
    pub spiffe_id: Option<SpiffeId>,
    /// Only entries directly under this parent.
    pub parent_id: Option<SpiffeId>,
    /// Only entries whose selectors compare so with these.
    pub selectors: Option<(Match, Selectors)>,
    /// Only entries whose federated trust domains compare so with these, which
    /// must be sorted and without repeats.
    pub federates_with: Option<(Match, Vec<TrustDomain>)>,
    /// Only entries with exactly this hint.
    pub hint: Option<String>,
    /// Only entries that are, or are not, downstream.
    pub downstream: Option<bool>,
}

impl EntryFilter {
    /// Whether the entry is to be listed.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        self.spiffe_id
            .as_ref()
            .is_none_or(|id| entry.spiffe_id == *id)
            && self
                .parent_id
                .as_ref()
                .is_none_or(|id| entry.parent_id == *id)
            && self
                .selectors
                .as_ref()
                .is_none_or(|(how, asked)| how.holds(entry.selectors.as_slice(), asked.as_slice()))
            && self
                .federates_with
                .as_ref()
                .is_none_or(|(how, asked)| how.holds(&entry.federates_with, asked))
            && self.hint.as_ref().is_none_or(|hint| entry.hint == *hint)
            && self.downstream.is_none_or(|flag| entry.downstream == flag)
    }
}

/// Which nodes to list; all given conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct NodeFilter {
    /// Only nodes this attestor vouched for.
    pub attestor: Option<String>,
    /// Only nodes whose selectors compare so with these.
    pub selectors: Option<(Match, Selectors)>,
    /// Only nodes that are, or are not, banned.
    pub banned: Option<bool>,
    /// Only nodes that may, or may not, attest again by themselves.
    pub can_reattest: Option<bool>,
    /// Only nodes whose SVID expires before this.
    pub expires_before: Option<Timestamp>,
}

impl NodeFilter {
    /// Whether the node is to be listed.
    #[must_use]
    pub fn matches(&self, node: &Node) -> bool {
        self.attestor
            .as_ref()
            .is_none_or(|kind| node.attestor == *kind)
            && self
                .selectors
                .as_ref()
                .is_none_or(|(how, asked)| how.holds(node.selectors.as_slice(), asked.as_slice()))
            && self.banned.is_none_or(|flag| node.banned == flag)
            && self
                .can_reattest
                .is_none_or(|flag| node.can_reattest == flag)
            && self.expires_before.is_none_or(|at| node.expires_at < at)
    }
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The records of this page, ordered by id.
    pub items: Vec<Arc<T>>,
    /// Where the next page begins: give it as `after`. `None`: this is the last.
    pub next: Option<C>,
}

impl Registry {
    /// Lists entries after the cursor, ordered by id, `limit` (at least 1) at a
    /// time. A cursor stays good when its entry is deleted.
    #[must_use]
    pub fn list_entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Page<Entry, EntryId> {
        let mut near: Vec<&Arc<Entry>> = match (&filter.spiffe_id, &filter.parent_id) {
            (Some(id), _) => self.slots.giving(id).map(|(_, e)| e).collect(),
            (None, Some(id)) => self.slots.under(id).map(|(_, e)| e).collect(),
            (None, None) => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let slots = self
                    .by_id
                    .range((from, Bound::Unbounded))
                    .map(|(_, slot)| slot);
                let entries = slots.filter_map(|slot| self.slots.get(*slot));
                return page(entries.filter(|e| filter.matches(e)), limit, |e| {
                    e.id.clone()
                });
            }
        };
        near.retain(|e| after.is_none_or(|after| e.id > *after) && filter.matches(e));
        near.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        page(near.into_iter(), limit, |e| e.id.clone())
    }

    /// How many entries match.
    #[must_use]
    pub fn count_entries(&self, filter: &EntryFilter) -> usize {
        self.list_entries(filter, None, usize::MAX).items.len()
    }

    /// Lists nodes after the cursor, ordered by agent ID, `limit` (at least 1)
    /// at a time.
    #[must_use]
    pub fn list_nodes(
        &self,
        filter: &NodeFilter,
        after: Option<&SpiffeId>,
        limit: usize,
    ) -> Page<Node, SpiffeId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let nodes = self
            .nodes
            .range((from, Bound::Unbounded))
            .map(|(_, node)| node);
        page(nodes.filter(|n| filter.matches(n)), limit, |n| n.id.clone())
    }
}

fn page<'a, T: 'a, C>(
    mut matching: impl Iterator<Item = &'a Arc<T>>,
    limit: usize,
    cursor: impl Fn(&T) -> C,
) -> Page<T, C> {
    let items: Vec<Arc<T>> = matching.by_ref().take(limit.max(1)).cloned().collect();
    let more = matching.next().is_some();
    let next = items.last().filter(|_| more).map(|last| cursor(last));
    Page { items, next }
}
