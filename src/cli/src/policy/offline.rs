//! What needs no server: checking and testing a policy folder, for authors and
//! for CI.

use std::path::Path;

use pdp::Engine;
use policy::{Fault, Sources};
use serde_json::json;

use super::folder;
use crate::failure::Failure;
use crate::output::Output;

/// `bulla policy validate`.
pub(super) fn validate(
    folder: &Path,
    deny_warnings: bool,
    cedar_schema: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    match folder::read(folder)?.and_then(|sources| load(&sources)) {
        Ok(engine) if cedar_schema => Ok(out.line(engine.schema().trim())?),
        Ok(engine) => valid(&engine, deny_warnings, out),
        Err(faults) => invalid(&faults, out),
    }
}

/// `bulla policy test`.
pub(super) fn test(folder: &Path, deny_untested: bool, out: &mut Output) -> Result<(), Failure> {
    match folder::read(folder)?.and_then(|sources| load(&sources)) {
        Ok(engine) => tested(&engine, deny_untested, out),
        Err(faults) => invalid(&faults, out),
    }
}

/// Loads a set as whoever proposes it must: what cannot be meant is a fault, too.
fn load(sources: &Sources) -> Result<Engine, Vec<Fault>> {
    let engine = Engine::load(sources)?;
    match engine.mistakes() {
        [] => Ok(engine),
        mistakes => Err(mistakes.to_vec()),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    let what = if count == 1 { one } else { many };
    format!("{count} {what}")
}

fn valid(engine: &Engine, deny_warnings: bool, out: &mut Output) -> Result<(), Failure> {
    let warnings = engine.warnings();
    let services = engine.catalogue().services().count();
    let permissions: usize = engine
        .catalogue()
        .services()
        .map(|s| s.permissions.len())
        .sum();
    let own = engine
        .rules()
        .filter(|rule| rule.layer() != pdp::Layer::Builtin)
        .count();
    let denied = deny_warnings && !warnings.is_empty();
    if out.is_json() {
        out.document(&json!({
            "valid": !denied,
            "policy_set": engine.digest(),
            "catalogue": engine.catalogue().digest(),
            "services": services,
            "permissions": permissions,
            "policies": own,
            "faults": warnings,
        }))?;
    } else {
        for warning in warnings {
            out.line(warning.to_string())?;
        }
        out.line(format!(
            "valid: {}, {}, {}",
            counted(services, "service", "services"),
            counted(permissions, "permission", "permissions"),
            counted(own, "policy", "policies")
        ))?;
        out.line(format!("policy set {}", engine.digest()))?;
    }
    if denied {
        let what = counted(warnings.len(), "warning", "warnings");
        return Err(Failure::refused(what).next("narrow the policies, or drop --deny-warnings"));
    }
    Ok(())
}

fn invalid(faults: &[Fault], out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        out.document(&json!({"valid": false, "faults": faults}))?;
    } else {
        for fault in faults {
            out.line(fault.to_string())?;
        }
    }
    let what = counted(faults.len(), "fault", "faults");
    Err(Failure::refused(format!(
        "the policy folder is not valid: {what}"
    )))
}

fn tested(engine: &Engine, deny_untested: bool, out: &mut Output) -> Result<(), Failure> {
    let report = engine.run_tests();
    let failed = report.trials.iter().filter(|t| t.failure.is_some()).count();
    let untested = deny_untested && !report.untested.is_empty();
    let passed = report.passed() && !untested && !report.trials.is_empty();
    if out.is_json() {
        let mut document = json!(report);
        if let Some(members) = document.as_object_mut() {
            members.insert("passed".into(), json!(passed));
        }
        out.document(&document)?;
    } else {
        for fault in &report.faults {
            out.line(fault.to_string())?;
        }
        for trial in &report.trials {
            if let Some(why) = &trial.failure {
                out.line(format!("failed: {} ({}): {why}", trial.name, trial.file))?;
            }
        }
        for id in &report.untested {
            out.line(format!("untested: no test is decided by {id}"))?;
        }
        out.line(format!(
            "{} passed, {failed} failed",
            report.trials.len() - failed
        ))?;
    }
    if passed {
        return Ok(());
    }
    Err(Failure::refused(match (report.passed(), untested) {
        (true, true) => {
            counted(report.untested.len(), "policy decides", "policies decide") + " no test"
        }
        (true, false) => "there are no tests".into(),
        (false, _) => "the tests of the policy folder do not pass".into(),
    }))
}
