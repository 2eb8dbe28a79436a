//! Which policies can matter to a decision. Cedar evaluates every policy of a
//! set; ours are kept by permission and by the principal in their scope, so that
//! a decision evaluates those whose scope can match, and no others. A property
//! test holds sliced and whole answers equal.

use std::collections::{BTreeMap, HashMap};

use cedar_policy::{EntityUid, PolicySet};
use policy::{Fault, PermissionName};

use crate::rule::{Covers, Rule, Whose};

/// A policy that reaches more permissions than this is kept once, for all.
const WIDE: usize = 64;

/// Policies that are evaluated together.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) policies: PolicySet,
    /// Whether time alone can change what they say.
    pub(crate) timed: bool,
}

#[derive(Debug, Default)]
struct ByPrincipal {
    anyone: Bucket,
    of: HashMap<EntityUid, Bucket>,
}

/// All policies, by what they can apply to.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    everywhere: ByPrincipal,
    by_permission: HashMap<PermissionName, ByPrincipal>,
}

impl Slices {
    pub(crate) fn new(rules: &BTreeMap<String, Rule>) -> Result<Self, Vec<Fault>> {
        let mut slices = Self::default();
        let mut faults = Vec::new();
        for rule in rules.values() {
            if let Err(error) = slices.add(rule) {
                faults.push(Fault::error(&rule.file, rule.line, error.to_string()));
            }
        }
        if faults.is_empty() {
            Ok(slices)
        } else {
            Err(faults)
        }
    }

    fn add(&mut self, rule: &Rule) -> Result<(), Box<cedar_policy::PolicySetError>> {
        match &rule.covers {
            Covers::Only(names) if names.len() <= WIDE => {
                for name in names {
                    self.by_permission
                        .entry(name.clone())
                        .or_default()
                        .add(rule)?;
                }
                Ok(())
            }
            _ => self.everywhere.add(rule),
        }
    }

    /// The buckets that can matter to a permission asked for by a principal that
    /// is `names`: itself, its paths and its trust domain.
    pub(crate) fn for_request<'a>(
        &'a self,
        permission: &PermissionName,
        names: &'a [EntityUid],
    ) -> impl Iterator<Item = &'a Bucket> {
        let own = self.by_permission.get(permission);
        std::iter::once(&self.everywhere)
            .chain(own)
            .flat_map(move |slice| slice.for_principal(names))
            .filter(|bucket| !bucket.policies.is_empty())
    }
}

impl ByPrincipal {
    fn add(&mut self, rule: &Rule) -> Result<(), Box<cedar_policy::PolicySetError>> {
        let bucket = match &rule.principal {
            Whose::Anyone => &mut self.anyone,
            Whose::Of(uid) => self.of.entry(uid.clone()).or_default(),
        };
        bucket.timed |= rule.timed;
        bucket.policies.add(rule.policy.clone()).map_err(Box::new)
    }

    fn for_principal<'a>(&'a self, names: &'a [EntityUid]) -> impl Iterator<Item = &'a Bucket> {
        let of = names.iter().filter_map(|name| self.of.get(name));
        std::iter::once(&self.anyone).chain(of)
    }
}
