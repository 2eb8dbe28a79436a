//! Strict validation. Cedar types each policy against every action of its schema,
//! so a whole set costs policies times permissions. A policy whose scope names
//! actions of one service is typed against that service alone: for any other
//! action its scope is false, and what follows a false scope is not typed.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use cedar_policy::{
    ActionConstraint, EntityUid, PolicySet, Schema, ValidationMode, ValidationResult, Validator,
};
use miette::Diagnostic;
use policy::{Catalogue, Fault, Service};

use crate::rule::Rule;
use crate::schema;

/// Validates all policies strictly, and gives the schema of the whole catalogue,
/// read from `text`.
///
/// # Errors
/// What Cedar's validator says. A policy that can never apply is a mistake, too,
/// not a remark.
pub(crate) fn strictly(
    catalogue: &Catalogue,
    text: &str,
    rules: &BTreeMap<String, Rule>,
) -> Result<Schema, Vec<Fault>> {
    let schema = read(text).map_err(|fault| vec![fault])?;
    let suspects = suspects(catalogue, rules).map_err(|fault| vec![fault])?;
    // Against the whole, whose faults name what exists elsewhere.
    let result = check(schema.clone(), &suspects).map_err(|fault| vec![fault])?;
    let faults = faults(&result, rules);
    if faults.is_empty() {
        Ok(schema)
    } else {
        Err(faults)
    }
}

/// What [`strictly`] says, found the long way.
#[cfg(test)]
pub(crate) fn whole(text: &str, rules: &BTreeMap<String, Rule>) -> Result<(), Vec<Fault>> {
    let schema = read(text).map_err(|fault| vec![fault])?;
    let all: Vec<&Rule> = rules.values().collect();
    let faults = faults(&check(schema, &all).map_err(|fault| vec![fault])?, rules);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// The policies that their service's own part of the schema does not prove valid.
fn suspects<'a>(
    catalogue: &Catalogue,
    rules: &'a BTreeMap<String, Rule>,
) -> Result<Vec<&'a Rule>, Fault> {
    let mut suspects = Vec::new();
    let mut by_service: BTreeMap<&str, (&Service, Vec<&Rule>)> = BTreeMap::new();
    for rule in rules.values() {
        match only_service(catalogue, rule) {
            Some(service) => {
                let of = by_service.entry(service.audience.as_str());
                of.or_insert((service, Vec::new())).1.push(rule);
            }
            None => suspects.push(rule),
        }
    }
    for (service, rules) in by_service.into_values() {
        let result = check(read(&schema::text_of(service))?, &rules)?;
        if result.validation_errors().next().is_some()
            || result.validation_warnings().next().is_some()
        {
            suspects.extend(rules);
        }
    }
    Ok(suspects)
}

/// The one service whose actions the policy's scope names. None for a scope of any
/// action, or of a risk: its body is typed for the actions of others, too.
fn only_service<'a>(catalogue: &'a Catalogue, rule: &Rule) -> Option<&'a Service> {
    let of = |action: &EntityUid| {
        let name = action.id().unescaped();
        match schema::group_of_service(name) {
            Some(audience) => catalogue.service(audience),
            None => catalogue.permission(name).map(|(service, _)| service),
        }
    };
    let mut services = match rule.policy.action_constraint() {
        ActionConstraint::Any => return None,
        ActionConstraint::Eq(action) => vec![of(&action)],
        ActionConstraint::In(actions) => actions.iter().map(of).collect(),
    }
    .into_iter();
    let first = services.next()??;
    services
        .all(|other| other.is_some_and(|other| other.audience == first.audience))
        .then_some(first)
}

fn read(schema: &str) -> Result<Schema, Fault> {
    Schema::from_str(schema).map_err(|error| {
        let what = format!("the Cedar schema made from it is not valid: {error}");
        Fault::error("catalogue", None, what)
    })
}

fn check(schema: Schema, rules: &[&Rule]) -> Result<ValidationResult, Fault> {
    let policies = rules.iter().map(|rule| rule.policy.clone());
    let set = PolicySet::from_policies(policies)
        .map_err(|error| Fault::error("policies", None, error.to_string()))?;
    Ok(Validator::new(schema).validate(&set, ValidationMode::Strict))
}

fn faults(result: &ValidationResult, rules: &BTreeMap<String, Rule>) -> Vec<Fault> {
    let errors = result
        .validation_errors()
        .map(|error| placed(rules, error.policy_id().as_ref(), error));
    let warnings = result
        .validation_warnings()
        .map(|warning| placed(rules, warning.policy_id().as_ref(), warning));
    errors.chain(warnings).collect()
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
