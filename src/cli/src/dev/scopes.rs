//! The steps about scoped tokens: a catalogue and a policy, a token that is granted
//! in part, a call that it allows and one that it does not, and why.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::TRUST_DOMAIN;
use super::steps::start;
use super::tour::{Finished, Tour};
use crate::failure::Failure;
use crate::output::{member, text};

/// What the service payments lets tokens allow.
const CATALOGUE: &str = "\
audience: payments
owner: team-payments
description: Charges cards and gives money back.
permissions:
  - name: payments:charge.read
    description: Look a charge up.
    risk: low
    endpoints: {http: ['GET /charges/{id}']}
  - name: payments:refund.create
    description: Give money back.
    risk: high
    endpoints: {http: ['POST /charges/{id}/refunds']}
";

/// Who may have which of it.
fn policies() -> String {
    format!(
        "@id(\"pay-1\") @owner(\"team-payments\") @rationale(\"the frontend shows charges\") @max_ttl(\"2m\")\n\
         permit (principal in Path::\"spiffe://{TRUST_DOMAIN}/frontend\",\n\
         \x20 action == Action::\"payments:charge.read\", resource == Audience::\"payments\");\n\n\
         @id(\"pay-2\") @owner(\"team-payments\") @rationale(\"refunds only in an emergency that two people vouch for\") @max_ttl(\"2m\")\n\
         permit (principal in Path::\"spiffe://{TRUST_DOMAIN}/frontend\",\n\
         \x20 action == Action::\"payments:refund.create\", resource == Audience::\"payments\")\n\
         when {{ context has breakGlass }};\n"
    )
}

/// Takes the steps in order.
///
/// # Errors
/// The first that does not hold.
pub(super) async fn all(tour: &mut Tour<'_>) -> Result<(), Failure> {
    activate(tour).await?;
    let pair = granted_in_part(tour).await?;
    calls(tour, &pair).await?;
    why(tour, &pair).await
}

fn write_policy(tour: &Tour<'_>) -> Result<PathBuf, Failure> {
    let folder = tour.folder.path().join("policy");
    for part in ["catalogue", "policies"] {
        fs::create_dir_all(folder.join(part))?;
    }
    fs::write(folder.join("catalogue/payments.yaml"), CATALOGUE)?;
    fs::write(folder.join("policies/payments.cedar"), policies())?;
    Ok(folder)
}

async fn activate(tour: &mut Tour<'_>) -> Result<(), Failure> {
    let folder = write_policy(tour)?.display().to_string();
    let applied = tour.admin_command(&["policy", "apply", &folder]).await?;
    let seen = [
        ("folder", Value::from(folder)),
        ("policy set", member(&applied, "digest")),
    ];
    tour.held("a permission catalogue and a policy are active", &seen)
}

async fn granted_in_part(tour: &mut Tour<'_>) -> Result<Value, Failure> {
    let mut command = tour.service("frontend")?;
    command.args([
        "demo",
        "token",
        "--workload-socket",
        &tour.workload_socket(),
    ]);
    command.args(["--audience", "payments"]);
    for permission in ["payments:charge.read", "payments:refund.create"] {
        command.args(["--permission", permission]);
    }
    let done = tour.finish(&mut command, "").await?;
    let names = |member: &str| -> Vec<String> {
        let list = done.answer.get(member).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|item| text(item, "permission"))
            .collect()
    };
    let (granted, refused) = (names("granted"), names("refused"));
    if granted != ["payments:charge.read"] || refused != ["payments:refund.create"] {
        let what = format!("granted {granted:?}, refused {refused:?}: {}", done.errors);
        return Err(Failure::refused(what));
    }
    let first = done
        .answer
        .pointer("/refused/0")
        .cloned()
        .unwrap_or_default();
    let near = first.pointer("/nearest/0").cloned().unwrap_or_default();
    let seen = [
        ("granted", Value::from(granted)),
        ("refused", Value::from(refused)),
        ("because", member(&first, "reason")),
        ("nearest policy", member(&near, "policy")),
        ("which needs", member(&near, "failed")),
        ("profile", member(&done.answer, "profile")),
        ("decision", member(&done.answer, "decision")),
    ];
    tour.held(
        "the frontend asked for two permissions and was granted one",
        &seen,
    )?;
    Ok(done.answer)
}

async fn spend(tour: &Tour<'_>, to: &str, pair: &Value, call: &str) -> Result<Finished, Failure> {
    let mut command = tour.service("frontend")?;
    command.args([
        "demo",
        "spend",
        "--workload-socket",
        &tour.workload_socket(),
    ]);
    command.args([
        "--to",
        to,
        "--expect",
        &format!("spiffe://{TRUST_DOMAIN}/payments"),
    ]);
    command.args(["--call", call]);
    tour.finish(&mut command, &pair.to_string()).await
}

async fn calls(tour: &mut Tour<'_>, pair: &Value) -> Result<(), Failure> {
    let (service, line) = start(tour, "payments", &["guard", "--audience", "payments"]).await?;
    let to = text(&line, "listening");
    let mut seen = Vec::new();
    for (call, expected) in [
        ("GET /charges/7", "200"),
        ("POST /charges/7/refunds", "403"),
        ("DELETE /charges/7", "403"),
    ] {
        let done = spend(tour, &to, pair, call).await?;
        let answer = text(&done.answer, "answer");
        if !answer.starts_with(expected) {
            let what = format!(
                "{call} was answered {answer:?}, not {expected}: {}",
                done.errors
            );
            return Err(Failure::refused(what));
        }
        seen.push(format!("{call}: {answer}"));
    }
    drop(service);
    let seen = [("payments", Value::from(seen))];
    tour.held(
        "a call it allows was served, and calls it does not allow were not",
        &seen,
    )
}

async fn why(tour: &mut Tour<'_>, pair: &Value) -> Result<(), Failure> {
    let (jti, id) = (text(pair, "jti"), text(pair, "decision"));
    let by_token = tour.admin_command(&["explain", "token", &jti]).await?;
    let by_id = tour.admin_command(&["explain", "decision", &id]).await?;
    let record = member(&by_id, "decision");
    if text(&record, "jti") != jti || member(&by_token, "decision") != record {
        let what = format!("{id} is not the one decision on record behind {jti}");
        return Err(Failure::refused(what));
    }
    let seen = [
        ("jti", Value::from(jti)),
        ("granted", reasons(&record, "granted")),
        ("refused", reasons(&record, "refused")),
        ("policy set", member(&record, "policy_set")),
    ];
    tour.held(
        "why, from the record that was durable before the token was signed",
        &seen,
    )
}

/// Each permission of a list with the policy and why: a refusal's reason, or the
/// rationale of the policy that permits.
fn reasons(record: &Value, list: &str) -> Value {
    let items = record.get(list).and_then(Value::as_array);
    let lines = items.into_iter().flatten().map(|item| {
        let policy = item.pointer("/policies/0").cloned().unwrap_or_default();
        let mut words = vec![text(item, "permission"), text(&policy, "id")];
        words.push(text(item, "reason"));
        words.push(text(&policy, "rationale"));
        words.retain(|word| !word.is_empty());
        Value::from(words.join(" "))
    });
    lines.collect()
}
