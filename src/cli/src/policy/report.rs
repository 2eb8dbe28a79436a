//! Plans and activations, for people and scripts.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Output;
use crate::wire::policy_v1::{ActivateResponse, PlanResponse};

/// The most changes of access shown to people.
const SHOWN: usize = 40;

fn value(plan: &PlanResponse) -> Value {
    let faults = plan.faults.iter().map(|fault| {
        json!({
            "file": fault.file,
            "line": fault.line,
            "severity": fault.severity,
            "what": fault.what,
            "next": fault.next,
        })
    });
    let changes = plan.changes.iter().map(|change| {
        json!({
            "spiffe_id": change.spiffe_id,
            "audience": change.audience,
            "permission": change.permission,
            "change": if change.gained { "gained" } else { "lost" },
            "policies": change.policies,
            "conditions": change.conditions,
        })
    });
    json!({
        "digest": plan.digest,
        "active": plan.active,
        "activatable": plan.activatable,
        "faults": faults.collect::<Vec<_>>(),
        "tests": { "passed": plan.tests_passed, "failed": plan.tests_failed },
        "files": plan.files,
        "access": changes.collect::<Vec<_>>(),
        "access_changes": plan.changes_total,
        "access_lost": plan.lost_total,
        "workloads_unexamined": plan.unexamined,
    })
}

/// Shows a plan to people.
///
/// # Errors
/// Standard output is closed.
pub(super) fn show(plan: &PlanResponse, out: &mut Output) -> Result<(), Failure> {
    for fault in &plan.faults {
        let line = match fault.line {
            0 => String::new(),
            line => format!(":{line}"),
        };
        let next = match fault.next.as_str() {
            "" => String::new(),
            next => format!("; {next}"),
        };
        let (file, severity, what) = (&fault.file, &fault.severity, &fault.what);
        out.line(format!("{file}{line}: {severity}: {what}{next}"))?;
    }
    for failed in &plan.tests_failed {
        out.line(format!("test failed: {failed}"))?;
    }
    for file in &plan.files {
        out.line(file)?;
    }
    for change in plan.changes.iter().take(SHOWN) {
        let sign = if change.gained { "gains" } else { "loses" };
        let by = match change.policies.join(", ").as_str() {
            "" => String::new(),
            policies => format!("  ({policies})"),
        };
        let (id, permission, audience) = (&change.spiffe_id, &change.permission, &change.audience);
        let under = match change.conditions.len() {
            0 => "",
            _ => " under conditions",
        };
        out.line(format!("{id} {sign} {permission} at {audience}{under}{by}"))?;
        for condition in &change.conditions {
            out.line(format!("    {condition}"))?;
        }
    }
    let total = usize::try_from(plan.changes_total).unwrap_or(usize::MAX);
    let shown = plan.changes.len().min(SHOWN);
    if total > shown {
        let more = total - shown;
        out.line(format!(
            "and {more} more changes of access; see them all with --json"
        ))?;
    }
    if plan.unexamined > 0 {
        out.line(format!(
            "{} more workloads were not looked at; what they gain or lose is not shown",
            plan.unexamined
        ))?;
    }
    Ok(out.line(format!(
        "{} tests passed, {} failed; {} changes of access",
        plan.tests_passed,
        plan.tests_failed.len(),
        plan.changes_total
    ))?)
}

/// Tells of a plan that is not carried out.
///
/// # Errors
/// The set cannot be activated: exit code 1.
pub(super) fn planned(plan: &PlanResponse, asked: bool, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        let mut answer = value(plan);
        if let Some(members) = answer.as_object_mut() {
            members.insert("activated".into(), false.into());
        }
        out.document(&answer)?;
    } else {
        show(plan, out)?;
    }
    if !plan.activatable {
        return Err(Failure::refused("the policy set cannot be activated").next(
            "put right what is listed; `bulla policy validate` and `test` say the same offline",
        ));
    }
    if out.is_json() {
        return Ok(());
    }
    let digest = &plan.digest;
    Ok(match (asked, plan.digest == plan.active) {
        (_, true) => out.line(format!("{digest} is active already; nothing to change")),
        _ => out.line(format!(
            "this is only the plan of {digest}; nothing was changed"
        )),
    }?)
}

/// Tells of an activation.
///
/// # Errors
/// It was not activated: exit code 1.
pub(super) fn activated(
    answer: &ActivateResponse,
    asked_to_plan: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let plan = answer.plan.clone().unwrap_or_default();
    let Some(made) = &answer.activation else {
        return planned(&plan, asked_to_plan, out);
    };
    if out.is_json() {
        let mut report = value(&plan);
        if let Some(members) = report.as_object_mut() {
            members.insert("activated".into(), true.into());
            members.insert("activation".into(), super::activation(made));
        }
        return Ok(out.document(&report)?);
    }
    show(&plan, out)?;
    Ok(out.line(format!("{} decides from now on", made.digest))?)
}
