//! `bulla explain …`: why a process has the identity it has, or none; and who can
//! have an identity.

mod decision;
mod id;
mod lineage;
mod process;

use std::path::Path;

use serde_json::Value;

use crate::command::ExplainCommand;
use crate::failure::Failure;
use crate::local_http::get;
use crate::output::Output;
use crate::workload_client::socket_path;

/// Runs one `bulla explain` command.
///
/// # Errors
/// Nobody answers, there is nothing of that name, or there is no identity.
pub(crate) async fn run(command: ExplainCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        ExplainCommand::Pid {
            pid,
            agent_admin_socket,
        } => {
            let path = format!("/v1/explain/pid/{pid}");
            let answer = get(&agent_admin_socket, &path).await?.ok();
            let answer = answer.map_err(|failure| match failure.next {
                Some(_) => failure,
                None => failure.next("list processes with `ps`"),
            })?;
            process::show(&answer, out)
        }
        ExplainCommand::Me { agent } => {
            let answer = me(&agent.workload_socket).await?;
            process::show(&answer, out)
        }
        ExplainCommand::Id { id, admin } => id::explain(&id, &admin, out).await,
        ExplainCommand::Token { jti, admin } => decision::token(jti, &admin, out).await,
        ExplainCommand::Decision { id, admin } => decision::decision(id, &admin, out).await,
        ExplainCommand::WhoCan {
            permission,
            audience,
            admin,
        } => decision::who_can(permission, audience, &admin, out).await,
        ExplainCommand::WhatCan { id, admin } => decision::what_can(id, &admin, out).await,
    }
}

/// What the agent says of this very process.
///
/// # Errors
/// No agent answers, or it cannot attest this process.
pub(crate) async fn me(workload_socket: &str) -> Result<Value, Failure> {
    let socket = Path::new(socket_path(workload_socket));
    get(socket, "/v1/explain/me").await?.ok()
}

/// All selectors that were stated of a process, from an explanation.
#[must_use]
pub(crate) fn selectors(explanation: &Value) -> Vec<Value> {
    let attestors = explanation.get("attestors").and_then(Value::as_array);
    let stated = attestors.into_iter().flatten();
    let stated = stated.filter_map(|a| a.get("selectors")?.as_array());
    stated.flatten().cloned().collect()
}
