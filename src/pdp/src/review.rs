//! What a reviewer should look at: permits wider than they need be, and what
//! Cedar's validator notices.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use cedar_policy::{ActionConstraint, EntityUid, PolicySet, Schema, ValidationMode, Validator};
use identity::SpiffeId;
use miette::Diagnostic;
use policy::Fault;

use crate::rule::{Covers, Effect, Layer, Rule, Whose};

/// Strict validation of all policies against the schema.
pub(crate) fn validate(schema: &str, rules: &BTreeMap<String, Rule>) -> Result<Schema, Vec<Fault>> {
    let schema = Schema::from_str(schema).map_err(|error| {
        vec![Fault::error(
            "catalogue",
            None,
            format!("the Cedar schema made from it is not valid: {error}"),
        )]
    })?;
    let policies = rules.values().map(|rule| rule.policy.clone());
    let set = PolicySet::from_policies(policies)
        .map_err(|error| vec![Fault::error("policies", None, error.to_string())])?;
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let mut faults = Vec::new();
    for error in result.validation_errors() {
        faults.push(placed(rules, error.policy_id().as_ref(), error));
    }
    // A policy that can never apply is a mistake, not a remark.
    for warning in result.validation_warnings() {
        faults.push(placed(rules, warning.policy_id().as_ref(), warning));
    }
    if faults.is_empty() {
        Ok(schema)
    } else {
        Err(faults)
    }
}

fn placed(rules: &BTreeMap<String, Rule>, id: &str, found: &dyn Diagnostic) -> Fault {
    let place = rules.get(id);
    let file = place.map_or("policies", |rule| rule.file.as_str());
    let fault = Fault::error(file, place.and_then(|rule| rule.line), found.to_string());
    match found.help() {
        Some(help) => fault.next(help.to_string()),
        None => fault,
    }
}

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
