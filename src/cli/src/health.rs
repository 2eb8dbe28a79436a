//! `bulla healthcheck` and `bulla doctor`: can the parts on this machine serve now, and
//! what are they late with?

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::doctor::doctor_client::DoctorClient;
use api::doctor::{self as wire, ExamineRequest, ExamineResponse};
use channel::{ChannelOptions, uds_channel};
use duty::Standing;
use serde_json::{Value, json};

use crate::admin::root_cause;
use crate::command::Part;
use crate::failure::Failure;
use crate::local_http;
use crate::output::Output;

/// Whoever answers later than this does not serve.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Whom to ask.
pub(crate) struct Asked {
    /// Only this part; otherwise both.
    pub(crate) only: Option<Part>,
    /// The server's admin socket.
    pub(crate) server_socket: PathBuf,
    /// The agent's admin socket.
    pub(crate) agent_socket: PathBuf,
}

/// What a part says of itself.
#[derive(Default)]
struct Examined {
    ready: bool,
    live: bool,
    reasons: Vec<String>,
    /// Each check: its name, whether it holds, what was found.
    checks: Vec<Value>,
    /// Each duty, with a sentence about it.
    duties: Vec<Value>,
}

/// Asks the parts whether they can serve.
///
/// # Errors
/// One is away or not ready; the reasons are in the answer.
pub(crate) async fn run(asked: &Asked, out: &mut Output) -> Result<(), Failure> {
    let parts = examine(asked).await;
    let rows: Vec<Value> = parts
        .iter()
        .map(|(name, part)| json!({ "part": name, "ready": part.ready, "reasons": part.reasons }))
        .collect();
    out.rows(
        &rows,
        &[("PART", "part"), ("READY", "ready"), ("REASONS", "reasons")],
        "",
    )?;
    verdict(&parts)
}

/// Shows every check and duty of the parts.
///
/// # Errors
/// As [`run`].
pub(crate) async fn doctor(asked: &Asked, out: &mut Output) -> Result<(), Failure> {
    let parts = examine(asked).await;
    if out.is_json() {
        let all = parts.iter().map(|(name, part)| document(name, part));
        out.document(&Value::Array(all.collect()))?;
        return verdict(&parts);
    }
    for (at, (name, part)) in parts.iter().enumerate() {
        if at > 0 {
            out.line("")?;
        }
        let state = match (part.ready, part.live) {
            (true, _) => "ready",
            (false, true) => "NOT READY",
            (false, false) => "NOT READY, and only a new start would help",
        };
        out.line(format!("{name}: {state}"))?;
        for reason in &part.reasons {
            out.line(format!("  ! {reason}"))?;
        }
        table(out, "CHECK", &part.checks)?;
        table(out, "DUTY", &part.duties)?;
    }
    verdict(&parts)
}

fn table(out: &mut Output, title: &str, rows: &[Value]) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = [(title, "name"), ("STATE", "state"), ("FOUND", "found")];
    Ok(out.rows(rows, &columns, "")?)
}

fn document(name: &str, part: &Examined) -> Value {
    json!({
        "part": name,
        "ready": part.ready,
        "live": part.live,
        "reasons": part.reasons,
        "checks": part.checks,
        "duties": part.duties,
    })
}

fn verdict(parts: &[(&str, Examined)]) -> Result<(), Failure> {
    let bad: Vec<&str> = parts
        .iter()
        .filter(|(_, part)| !part.ready)
        .map(|(name, _)| *name)
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(Failure::unreachable(format!(
        "not ready: {}",
        bad.join(", ")
    )))
}

async fn examine(asked: &Asked) -> Vec<(&'static str, Examined)> {
    let mut found = Vec::new();
    if asked.only != Some(Part::Agent) {
        let answer = within(server(&asked.server_socket)).await;
        found.push(("server", answer.unwrap_or_else(away)));
    }
    if asked.only != Some(Part::Server) {
        let answer = within(agent(&asked.agent_socket)).await;
        found.push(("agent", answer.unwrap_or_else(away)));
    }
    found
}

/// A part that does not answer is not ready, and not alive as far as anybody can tell.
fn away(failure: Failure) -> Examined {
    Examined {
        reasons: vec![failure.what],
        ..Examined::default()
    }
}

async fn within(
    asking: impl Future<Output = Result<Examined, Failure>>,
) -> Result<Examined, Failure> {
    let answer = tokio::time::timeout(WAIT_MAX, asking).await;
    answer.unwrap_or_else(|_elapsed| {
        Err(Failure::unreachable(format!(
            "no answer within {} s",
            WAIT_MAX.as_secs()
        )))
    })
}

async fn server(socket: &Path) -> Result<Examined, Failure> {
    let no_answer = |why: String| {
        Failure::unreachable(format!("no server answers at {}: {why}", socket.display()))
    };
    let channel = uds_channel(socket, &ChannelOptions::default()).await;
    let channel = channel.map_err(|error| no_answer(root_cause(&error)))?;
    let answer = DoctorClient::new(channel).examine(ExamineRequest {}).await;
    let answer = answer.map_err(|status| no_answer(status.message().to_owned()))?;
    let ExamineResponse {
        ready,
        live,
        reasons,
        checks,
        duties,
    } = answer.into_inner();
    Ok(Examined {
        ready,
        live,
        reasons,
        checks: checks.iter().map(check).collect(),
        duties: duties.iter().map(duty).collect(),
    })
}

fn check(check: &wire::Check) -> Value {
    let state = if check.ok { "ok" } else { "BAD" };
    json!({ "name": check.name, "ok": check.ok, "state": state, "found": check.detail })
}

fn duty(duty: &wire::Duty) -> Value {
    json!({
        "name": duty.name,
        "weight": duty.weight,
        "state": duty.condition,
        "late": duty.condition != "well",
        "last_success_seconds": duty.last_success_seconds,
        "within_seconds": duty.within_seconds,
        "error": duty.error,
        "found": duty.sentence,
    })
}

/// The agent says it over HTTP, on its admin socket.
async fn agent(socket: &Path) -> Result<Examined, Failure> {
    let answer = local_http::get(socket, "/ready").await?;
    let said = |member: &str| answer.body.get(member).and_then(Value::as_bool);
    let ready = answer.status == 200 && said("ready") == Some(true);
    let list = |member: &str| {
        let list = answer.body.get(member).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let mut reasons: Vec<String> = list("reasons")
        .iter()
        .filter_map(|reason| reason.as_str().map(str::to_owned))
        .collect();
    if !ready && reasons.is_empty() {
        reasons.push(format!("it answers {}", answer.status));
    }
    let duties = list("duties").into_iter();
    let duties = duties.filter_map(|value| serde_json::from_value::<Standing>(value).ok());
    Ok(Examined {
        ready,
        live: said("live").unwrap_or(true),
        reasons,
        checks: Vec::new(),
        duties: duties.map(|standing| standing_value(&standing)).collect(),
    })
}

fn standing_value(standing: &Standing) -> Value {
    json!({
        "name": standing.name,
        "weight": standing.weight.name(),
        "state": standing.condition.name(),
        "late": standing.condition.is_late(),
        "last_success_seconds": standing.last_success_seconds,
        "within_seconds": standing.within_seconds,
        "error": standing.error,
        "found": standing.to_string(),
    })
}
