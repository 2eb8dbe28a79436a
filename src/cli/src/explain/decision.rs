//! `bulla explain token|decision|who-can|what-can`: why a token was granted as it
//! was, or not at all; who could have a permission.

use serde_json::{Value, json};

use crate::admin::connect;
use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::output::{Output, text};
use crate::wire::token_v1::explain_client::ExplainClient;
use crate::wire::token_v1::{
    ExplainDecisionRequest, ExplainTokenRequest, ExplainedDecision, Holder, Holding, PolicyRef,
    WhatCanRequest, WhoCanRequest,
};

/// The decision behind a token.
///
/// # Errors
/// There is none, or the server is away.
pub(super) async fn token(
    jti: String,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = ExplainClient::new(connect(admin).await?);
    let found = client.token(ExplainTokenRequest { jti }).await?;
    show(&found.into_inner(), out)
}

/// A decision by its id.
///
/// # Errors
/// There is none, or the server is away.
pub(super) async fn decision(
    id: String,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = ExplainClient::new(connect(admin).await?);
    let found = client.decision(ExplainDecisionRequest { id }).await?;
    show(&found.into_inner(), out)
}

fn show(found: &ExplainedDecision, out: &mut Output) -> Result<(), Failure> {
    let record: Value = serde_json::from_str(&found.record)
        .map_err(|error| Failure::refused(format!("the decision cannot be read: {error}")))?;
    if out.is_json() {
        let answer = json!({
            "decision": record,
            "seq": found.seq,
            "hash": hex::encode(&found.hash),
            "policy_set_active": found.policy_set_active,
        });
        return Ok(out.document(&answer)?);
    }
    out.line(format!(
        "{} {}: {} asks for {} at {}",
        text(&record, "time"),
        text(&record, "id"),
        text(&record, "principal"),
        names(&record, "asked"),
        text(&record, "audience"),
    ))?;
    for granted in list(&record, "granted") {
        out.line(format!("granted {}", text(granted, "permission")))?;
        policies(granted, out)?;
    }
    for refused in list(&record, "refused") {
        let (what, why) = (text(refused, "permission"), text(refused, "reason"));
        out.line(format!("refused {what}: {why}"))?;
        policies(refused, out)?;
        for near in list(refused, "nearest") {
            let (policy, failed) = (text(near, "policy"), text(near, "failed"));
            out.line(format!("  {policy} would permit it, but not so: {failed}"))?;
        }
    }
    if let Some(error) = record.get("error") {
        let (code, reason) = (text(error, "code"), text(error, "reason"));
        out.line(format!("no token: {code}: {reason}"))?;
    }
    for warning in list(&record, "warnings") {
        out.line(format!("warning: {}", text(warning, "text")))?;
    }
    if let Some(glass) = record.pointer("/context/break_glass") {
        let (ticket, approver) = (text(glass, "ticket"), text(glass, "approver"));
        let how = if record.get("under_break_glass") == Some(&Value::Bool(true)) {
            "granted because of break-glass"
        } else {
            "break-glass was in force"
        };
        out.line(format!("{how}: ticket {ticket}, approved by {approver}"))?;
    }
    if record.get("jti").is_some() {
        let (jti, exp) = (text(&record, "jti"), text(&record, "exp"));
        out.line(format!(
            "token {jti} until {exp}, limited by {}",
            text(&record, "limited_by")
        ))?;
    }
    let now = if found.policy_set_active {
        "active"
    } else {
        "no longer active"
    };
    out.line(format!(
        "policy set {} ({now})",
        text(&record, "policy_set")
    ))?;
    let (authority, hash) = (text(&record, "authority"), hex::encode(&found.hash));
    Ok(out.line(format!(
        "recorded by {authority} as {}, hash {hash}",
        found.seq
    ))?)
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn names(record: &Value, name: &str) -> String {
    let names: Vec<&str> = list(record, name).filter_map(Value::as_str).collect();
    match names.join(", ") {
        none if none.is_empty() => "all it can have".to_owned(),
        names => names,
    }
}

fn policies(of: &Value, out: &mut Output) -> Result<(), Failure> {
    for policy in list(of, "policies") {
        let rationale = match text(policy, "rationale") {
            none if none.is_empty() => String::new(),
            rationale => format!(": {rationale}"),
        };
        out.line(format!("  by {}{rationale}", text(policy, "id")))?;
    }
    Ok(())
}

fn ids(policies: &[PolicyRef]) -> Vec<&str> {
    policies.iter().map(|policy| policy.id.as_str()).collect()
}

/// Which registered workloads can have a permission.
///
/// # Errors
/// There is no such permission or no policy set, or the server is away.
pub(super) async fn who_can(
    permission: String,
    audience: String,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = ExplainClient::new(connect(admin).await?);
    let request = WhoCanRequest {
        permission,
        audience,
    };
    let answer = client.who_can(request).await?.into_inner();
    let row = |holder: &Holder| {
        json!({
            "spiffe_id": holder.spiffe_id,
            "entry_id": holder.entry_id,
            "policies": ids(&holder.policies),
            "conditions": holder.conditions,
        })
    };
    let columns = [
        ("WORKLOAD", "spiffe_id"),
        ("ENTRY", "entry_id"),
        ("BY", "policies"),
    ];
    let reached = Reached {
        name: "holders",
        now: answer.holders.iter().map(row).collect(),
        possible: answer.possible.iter().map(row).collect(),
        none: format!(
            "none of {} registered workloads can as things stand",
            answer.examined
        ),
        policy_set: &answer.policy_set,
        assumptions: &answer.assumptions,
    };
    reached.show(&columns, out)
}

/// What a registered workload can have.
///
/// # Errors
/// No entry gives the SPIFFE ID, no policy set is active, or the server is away.
pub(super) async fn what_can(
    spiffe_id: String,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = ExplainClient::new(connect(admin).await?);
    let answer = client
        .what_can(WhatCanRequest { spiffe_id })
        .await?
        .into_inner();
    let row = |holding: &Holding| {
        json!({
            "audience": holding.audience,
            "permission": holding.permission,
            "entry_id": holding.entry_id,
            "policies": ids(&holding.policies),
            "conditions": holding.conditions,
        })
    };
    let columns = [
        ("AUDIENCE", "audience"),
        ("PERMISSION", "permission"),
        ("ENTRY", "entry_id"),
        ("BY", "policies"),
    ];
    let reached = Reached {
        name: "holdings",
        now: answer.holdings.iter().map(row).collect(),
        possible: answer.possible.iter().map(row).collect(),
        none: "it can have no permission as things stand".to_owned(),
        policy_set: &answer.policy_set,
        assumptions: &answer.assumptions,
    };
    reached.show(&columns, out)
}

/// Three answers: what can be now, what could be under conditions, and, of everything
/// else, that it cannot.
struct Reached<'a> {
    /// What scripts find the first answer under.
    name: &'static str,
    now: Vec<Value>,
    possible: Vec<Value>,
    none: String,
    policy_set: &'a str,
    assumptions: &'a [String],
}

impl Reached<'_> {
    fn show(&self, columns: &[(&str, &str)], out: &mut Output) -> Result<(), Failure> {
        if out.is_json() {
            let answer = json!({
                self.name: self.now,
                "possible": self.possible,
                "policy_set": self.policy_set,
                "assumptions": self.assumptions,
            });
            return Ok(out.document(&answer)?);
        }
        out.rows(&self.now, columns, &self.none)?;
        if self.possible.is_empty() {
            out.line("no other circumstances would change that")?;
        } else {
            out.line("under other circumstances:")?;
        }
        for row in &self.possible {
            let (what, _by) = columns.split_at(columns.len().saturating_sub(1));
            let what: Vec<String> = what
                .iter()
                .map(|(_, key)| text(row, key).to_owned())
                .collect();
            out.line(format!("  {}", what.join("  ")))?;
            for condition in list(row, "conditions").filter_map(Value::as_str) {
                out.line(format!("    by {condition}"))?;
            }
        }
        for assumed in self.assumptions {
            out.line(format!("assumed: {assumed}"))?;
        }
        Ok(out.line(format!("policy set {}", self.policy_set))?)
    }
}
