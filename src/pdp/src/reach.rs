//! What a workload could have in any circumstances, from the conditions of the policies
//! alone: by another hour, address or attestation, by break-glass. Nothing that could
//! be granted is left out; something that never comes about may be in it, when two of
//! its conditions exclude each other.

use std::collections::BTreeSet;

use policy::{Permission, PolicyRef, Principal, RequestContext, Service};
use serde::{Deserialize, Serialize};

use crate::condition::Depends;
use crate::engine::Engine;
use crate::facts::Facts;
use crate::rule::{Effect, Rule};
use crate::survey::supposed;

/// A policy that permits a workload something, under conditions that are not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Way {
    /// The policy.
    pub policy: PolicyRef,
    /// What must hold besides, in Cedar; empty is always.
    pub conditions: Vec<String>,
}

impl Way {
    /// Compares by what it takes, not by who owns it and why.
    fn key(&self) -> (&str, &[String]) {
        (&self.policy.id, &self.conditions)
    }

    /// In one line: `pay-3 if context has breakGlass`.
    #[must_use]
    pub fn text(&self) -> String {
        match self.conditions.join(" && ").as_str() {
            "" => format!("{} always", self.policy.id),
            conditions => format!("{} if {conditions}", self.policy.id),
        }
    }
}

/// Everything that can lead to a permission, and everything that can stand in its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reach {
    /// Policies that permit it, each under its conditions.
    pub(crate) permits: Vec<Way>,
    /// Policies that forbid it, each under its conditions.
    pub(crate) forbids: Vec<Way>,
}

impl Reach {
    fn is_always_permitted(&self) -> bool {
        self.permits.iter().any(|way| way.conditions.is_empty())
    }

    /// What this reaches that `other` does not, in lines for people; none if nothing.
    pub(crate) fn beyond(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        if !other.is_always_permitted() {
            lines.extend(more(&self.permits, &other.permits).map(Way::text));
        }
        if !self.permits.is_empty() {
            let lifted = more(&other.forbids, &self.forbids);
            lines.extend(lifted.map(|way| format!("no longer forbidden by {}", way.text())));
        }
        lines
    }
}

/// What of `ways` is not among `others`.
fn more<'a>(ways: &'a [Way], others: &'a [Way]) -> impl Iterator<Item = &'a Way> {
    let known: BTreeSet<_> = others.iter().map(Way::key).collect();
    ways.iter().filter(move |way| !known.contains(&way.key()))
}

impl Engine {
    /// What can lead to a permission for a workload, whatever the circumstances.
    pub(crate) fn reach(
        &self,
        service: &Service,
        permission: &Permission,
        principal: &Principal,
        context: &RequestContext,
    ) -> Reach {
        let mut reach = Reach::default();
        if !principal.limits.allow(service.audience.as_str()) {
            return reach;
        }
        let wanted = supposed(service, permission, principal);
        let loaded = &self.0;
        let facts = Facts::new(&loaded.types, &loaded.offered, principal, context, &wanted);
        let Ok(facts) = facts else {
            return reach;
        };
        let details = wanted.permissions.first().map(|w| w.details.as_slice());
        let details = details.unwrap_or_default();
        let request = facts.request(&loaded.types, permission, details, context.now);
        let Ok(request) = request else {
            return reach;
        };
        for rule in self.in_scope(&facts, permission) {
            let holds = |condition: &crate::condition::Condition| {
                condition.holds(&loaded.authorizer, &request, &facts.entities)
            };
            let Some(conditions) = open(rule, holds) else {
                continue;
            };
            let way = Way {
                policy: rule.about.clone(),
                conditions,
            };
            match rule.effect {
                Effect::Permit => reach.permits.push(way),
                // Nothing ever lifts it.
                Effect::Forbid if way.conditions.is_empty() => return Reach::default(),
                Effect::Forbid => reach.forbids.push(way),
            }
        }
        reach
    }
}

/// The conditions that must hold besides what is known; `None` when one never does.
fn open(rule: &Rule, holds: impl Fn(&crate::condition::Condition) -> bool) -> Option<Vec<String>> {
    let mut conditions = Vec::new();
    for condition in rule.conditions() {
        let text = || condition.text.clone();
        match (condition.depends, rule.effect) {
            (Depends::Settled, _) if holds(condition) => {}
            (Depends::Settled, _) => return None,
            // The workload asks so that it is permitted, and not so that it is forbidden.
            (Depends::Chosen, Effect::Permit) if holds(condition) => {}
            (Depends::Chosen, Effect::Forbid) if !holds(condition) => return None,
            _ => conditions.push(text()),
        }
    }
    Some(conditions)
}
