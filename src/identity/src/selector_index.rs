//! Matching sets of selectors without comparing each with each.
//!
//! A condition set (an entry's selectors) matches a fact set (a node's, a
//! workload's) when it is a subset of it. Each condition set is filed under one
//! of its selectors only, the one that fewest others are filed under; a fact set
//! then asks for each of its own selectors and checks what it finds there.

use std::collections::{BTreeSet, HashMap};

use crate::{Selector, Selectors};

/// Finds the condition sets that a fact set satisfies.
#[derive(Debug, Clone)]
pub struct ConditionIndex<K> {
    by_selector: HashMap<Selector, BTreeSet<K>>,
}

impl<K> Default for ConditionIndex<K> {
    fn default() -> Self {
        Self {
            by_selector: HashMap::new(),
        }
    }
}

impl<K: Ord + Clone> ConditionIndex<K> {
    /// Files `key` with its conditions; they must not be empty, or it is never
    /// found: what asks for nothing matches nothing.
    pub fn insert(&mut self, key: K, conditions: &Selectors) {
        let filed = |s: &Selector| self.by_selector.get(s).map_or(0, BTreeSet::len);
        if let Some(rarest) = conditions.iter().min_by_key(|s| filed(s)) {
            self.by_selector
                .entry(rarest.clone())
                .or_default()
                .insert(key);
        }
    }

    /// Takes `key` out again; `conditions` are those it was filed with.
    pub fn remove(&mut self, key: &K, conditions: &Selectors) {
        for selector in conditions {
            let Some(keys) = self.by_selector.get_mut(selector) else {
                continue;
            };
            let found = keys.remove(key);
            if keys.is_empty() {
                self.by_selector.remove(selector);
            }
            if found {
                return;
            }
        }
    }

    /// Keys whose conditions share a selector with `facts`: a superset of those
    /// that match, each at most once. The caller checks `is_subset_of`.
    pub fn candidates<'a>(&'a self, facts: &'a Selectors) -> impl Iterator<Item = K> + 'a {
        facts
            .iter()
            .filter_map(|selector| self.by_selector.get(selector))
            .flat_map(|keys| keys.iter().cloned())
    }
}

/// Finds the fact sets that satisfy a condition set.
#[derive(Debug, Clone)]
pub struct FactIndex<K> {
    by_selector: HashMap<Selector, BTreeSet<K>>,
}

impl<K> Default for FactIndex<K> {
    fn default() -> Self {
        Self {
            by_selector: HashMap::new(),
        }
    }
}

impl<K: Ord + Clone> FactIndex<K> {
    /// Files `key` under each of its facts.
    pub fn insert(&mut self, key: &K, facts: &Selectors) {
        for selector in facts {
            let keys = self.by_selector.entry(selector.clone()).or_default();
            keys.insert(key.clone());
        }
    }

    /// Takes `key` out again; `facts` are those it was filed with.
    pub fn remove(&mut self, key: &K, facts: &Selectors) {
        for selector in facts {
            if let Some(keys) = self.by_selector.get_mut(selector) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_selector.remove(selector);
                }
            }
        }
    }

    /// Keys that have the rarest of the `conditions`: a superset of those that
    /// match. The caller checks `is_subset_of`. `None` when no key can match.
    #[must_use]
    pub fn candidates(&self, conditions: &Selectors) -> Option<&BTreeSet<K>> {
        let mut rarest: Option<&BTreeSet<K>> = None;
        for selector in conditions {
            let keys = self.by_selector.get(selector)?;
            if rarest.is_none_or(|r| keys.len() < r.len()) {
                rarest = Some(keys);
            }
        }
        rarest
    }
}
