//! What changes when one policy set replaces another: in words, and in who can
//! do what.

use std::collections::BTreeSet;

use policy::{Permission, PermissionName, PolicyRef, Principal, RequestContext, Service};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::reach::Reach;
use crate::rule::{Covers, Layer, Rule};
use crate::survey::Answer;

/// The most changes of access told in one list.
const ACCESS_MAX: usize = 10_000;

/// What an activation would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Services and permissions.
    pub catalogue: Vec<Change>,
    /// Policies and guardrails, by id.
    pub policies: Vec<Change>,
    /// Who could newly do what.
    pub allowed: Vec<Access>,
    /// Who could no longer do what.
    pub denied: Vec<Access>,
    /// Whether there were more changes of access than are listed.
    pub truncated: bool,
}

/// Something added, removed or changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "change", content = "name")]
pub enum Change {
    /// It is new.
    Added(String),
    /// It is gone.
    Removed(String),
    /// It reads otherwise.
    Changed(String),
}

/// A workload and a permission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// The workload.
    pub spiffe_id: String,
    /// The service.
    pub audience: String,
    /// The permission.
    pub permission: PermissionName,
    /// The policies that decide in the new set; for a refusal by default none.
    pub policies: Vec<String>,
    /// Why, in words.
    pub reason: String,
    /// Under which conditions it is gained or lost; empty is now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
}

impl Difference {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What would change for these workloads if `new` replaced `old`: under these
/// circumstances, and under any others. Only permissions that a change can touch are decided again.
#[must_use]
pub fn difference(
    old: &Engine,
    new: &Engine,
    candidates: &[Principal],
    context: &RequestContext,
) -> Difference {
    let deeper = if old.0.deep { old } else { new };
    deeper.surveying(|| compared(old, new, candidates, context))
}

fn compared(
    old: &Engine,
    new: &Engine,
    candidates: &[Principal],
    context: &RequestContext,
) -> Difference {
    let mut found = Difference {
        catalogue: catalogue(old, new),
        policies: policies(old, new),
        ..Difference::default()
    };
    for name in touched(old, new) {
        let before = old.catalogue().permission(name.as_str());
        let after = new.catalogue().permission(name.as_str());
        for who in candidates {
            compare(&mut found, (old, before), (new, after), who, context);
        }
    }
    found
}

type Offer<'a> = (&'a Engine, Option<(&'a Service, &'a Permission)>);

fn compare(
    found: &mut Difference,
    old: Offer<'_>,
    new: Offer<'_>,
    who: &Principal,
    context: &RequestContext,
) {
    let Some((service, permission)) = new.1.or(old.1) else {
        return;
    };
    let ask = |(engine, offer): Offer<'_>| {
        let (service, permission) = offer?;
        Some(engine.suppose(service, permission, who, context))
    };
    let reach = |(engine, offer): Offer<'_>| match offer {
        Some((service, permission)) => engine.reach(service, permission, who, context),
        None => Reach::default(),
    };
    let (before, after) = (ask(old), ask(new));
    let granted = |s: &Option<crate::Survey>| s.as_ref().is_some_and(|s| s.answer.is_granted());
    let now = (granted(&before), granted(&after));
    let (could, can) = (reach(old), reach(new));
    let (policies, reason) = reason(after.map(|survey| survey.answer));
    let access = |conditions: Vec<String>| Access {
        spiffe_id: who.spiffe_id.as_str().to_owned(),
        audience: service.audience.as_str().to_owned(),
        permission: permission.name.clone(),
        policies: policies.iter().map(|p| p.id.clone()).collect(),
        reason: reason.clone(),
        conditions,
    };
    let (gained, lost) = (can.beyond(&could), could.beyond(&can));
    let mut put = |list: fn(&mut Difference) -> &mut Vec<Access>, access: Access| {
        if list(found).len() < ACCESS_MAX {
            list(found).push(access);
        } else {
            found.truncated = true;
        }
    };
    match now {
        (false, true) => put(|found| &mut found.allowed, access(Vec::new())),
        _ if !gained.is_empty() => put(|found| &mut found.allowed, access(gained)),
        _ => {}
    }
    match now {
        (true, false) => put(|found| &mut found.denied, access(Vec::new())),
        _ if !lost.is_empty() => put(|found| &mut found.denied, access(lost)),
        _ => {}
    }
}

/// The policies that decide in the new set, and why.
fn reason(after: Option<Answer>) -> (Vec<PolicyRef>, String) {
    match after {
        Some(Answer::Granted(granted)) => {
            let first = granted.policies.first().map(|p| p.rationale.clone());
            (granted.policies, first.unwrap_or_default())
        }
        Some(Answer::Refused(refused)) => (refused.policies, refused.reason),
        None => (
            Vec::new(),
            "the permission is no longer in the catalogue".into(),
        ),
    }
}

fn catalogue(old: &Engine, new: &Engine) -> Vec<Change> {
    let named = |engine: &Engine| -> BTreeSet<String> {
        let services = engine.catalogue().services();
        let names = services.flat_map(|service| {
            let audience = service.audience.as_str();
            let own = service
                .permissions
                .keys()
                .map(move |name| format!("{audience} {name}"));
            own.chain([audience.to_owned()])
        });
        names.collect()
    };
    let (before, after) = (named(old), named(new));
    let mut changes: Vec<Change> = Vec::new();
    changes.extend(after.difference(&before).cloned().map(Change::Added));
    changes.extend(before.difference(&after).cloned().map(Change::Removed));
    for service in new.catalogue().services() {
        let earlier = old.catalogue().service(service.audience.as_str());
        if earlier.is_some_and(|s| s.source.text != service.source.text) {
            changes.push(Change::Changed(service.audience.as_str().to_owned()));
        }
    }
    changes.sort();
    changes
}

fn theirs(engine: &Engine) -> impl Iterator<Item = &Rule> {
    engine.rules().filter(|rule| rule.layer() != Layer::Builtin)
}

fn policies(old: &Engine, new: &Engine) -> Vec<Change> {
    let mut changes = Vec::new();
    for rule in theirs(new) {
        match old.rule(rule.id()) {
            None => changes.push(Change::Added(rule.id().to_owned())),
            Some(earlier) if differs(earlier, rule) => {
                changes.push(Change::Changed(rule.id().to_owned()));
            }
            Some(_) => {}
        }
    }
    let gone = theirs(old).filter(|rule| new.rule(rule.id()).is_none());
    changes.extend(gone.map(|rule| Change::Removed(rule.id().to_owned())));
    changes.sort();
    changes
}

fn differs(one: &Rule, other: &Rule) -> bool {
    one.layer != other.layer || one.text() != other.text()
}

/// The permissions whose answers can differ.
fn touched(old: &Engine, new: &Engine) -> BTreeSet<PermissionName> {
    let mut names = BTreeSet::new();
    let all = |engine: &Engine| -> Vec<PermissionName> {
        let services = engine.catalogue().services();
        services
            .flat_map(|service| service.permissions.keys().cloned())
            .collect()
    };
    for (one, other) in [(old, new), (new, old)] {
        for rule in theirs(one) {
            if other
                .rule(rule.id())
                .is_some_and(|twin| !differs(twin, rule))
            {
                continue;
            }
            match &rule.covers {
                Covers::Only(own) => names.extend(own.iter().cloned()),
                Covers::All => names.extend(all(one).into_iter().chain(all(other))),
            }
        }
        for service in one.catalogue().services() {
            let twin = other.catalogue().service(service.audience.as_str());
            if twin.is_none_or(|twin| twin.source.text != service.source.text) {
                names.extend(service.permissions.keys().cloned());
            }
        }
    }
    names
}
