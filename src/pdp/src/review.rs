//! What a reviewer should look at: permits wider than they need be.

use std::collections::BTreeMap;

use cedar_policy::{ActionConstraint, EntityUid};
use identity::SpiffeId;
use policy::Fault;

use crate::rule::{Covers, Effect, Layer, Rule, Whose};

/// Permits that reach far.
pub(crate) fn broad(rules: &BTreeMap<String, Rule>) -> Vec<Fault> {
    let mut found = Vec::new();
    for rule in rules.values() {
        if rule.effect != Effect::Permit || rule.layer == Layer::Builtin {
            continue;
        }
        for what in reasons(rule) {
            let what = format!("{} {what}", rule.id());
            let fault = Fault::warning(&rule.file, rule.line, what);
            found.push(fault.next("narrow it, unless that is meant"));
        }
    }
    found
}

fn reasons(rule: &Rule) -> Vec<String> {
    let mut reasons = Vec::new();
    match &rule.principal {
        Whose::Anyone => reasons.push("permits every workload".into()),
        Whose::Of(uid) if is_whole_domain(uid) => {
            reasons.push(format!(
                "permits every workload of {}",
                uid.id().unescaped()
            ));
        }
        Whose::Of(_) => {}
    }
    match rule.policy.action_constraint() {
        ActionConstraint::Any if rule.covers == Covers::All => {
            reasons.push("permits every permission of every service".into());
        }
        ActionConstraint::Any => {
            reasons.push("permits every permission of the service, those to come included".into());
        }
        ActionConstraint::Eq(uid) => reasons.extend(group(&uid)),
        ActionConstraint::In(uids) => reasons.extend(uids.iter().filter_map(group)),
    }
    if rule.text().contains("like \"*\"") {
        reasons.push("compares with like \"*\", which everything is like".into());
    }
    reasons
}

fn is_whole_domain(uid: &EntityUid) -> bool {
    let path = SpiffeId::parse(uid.id().unescaped()).is_ok_and(|id| !id.has_path());
    uid.type_name().to_string() == "TrustDomain" || path
}

fn group(uid: &EntityUid) -> Option<String> {
    let name = uid.id().unescaped();
    let is_group = name.starts_with("service=") || name.starts_with("risk=");
    is_group.then(|| format!("permits the whole group {name}, permissions to come included"))
}
