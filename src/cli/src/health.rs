//! `bulla healthcheck`: can the parts on this machine serve now?

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::admin::connect;
use crate::command::{AdminSocket, Part};
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::info_v1::GetRequest;
use crate::wire::info_v1::info_client::InfoClient;

/// The longest answer read, bytes.
const ANSWER_MAX: u64 = 64 * 1024;
const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Asks the parts, or only one of them.
///
/// # Errors
/// One is away or not ready; the reasons are in the answer.
pub(crate) async fn run(
    only: Option<Part>,
    server_socket: &Path,
    agent_socket: &Path,
    out: &mut Output,
) -> Result<(), Failure> {
    let asked = |part| only.is_none_or(|only| only == part);
    let mut rows = Vec::new();
    if asked(Part::Server) {
        rows.push(row("server", answers(server_socket).await));
    }
    if asked(Part::Agent) {
        rows.push(row("agent", ready(agent_socket).await));
    }
    out.rows(
        &rows,
        &[("PART", "part"), ("READY", "ready"), ("REASONS", "reasons")],
        "",
    )?;
    if rows
        .iter()
        .all(|row| crate::output::member(row, "ready") == Value::Bool(true))
    {
        return Ok(());
    }
    Err(Failure::unreachable("not everything is ready"))
}

fn row(name: &str, outcome: Result<(bool, Value), Failure>) -> Value {
    match outcome {
        Ok((ready, reasons)) => json!({ "part": name, "ready": ready, "reasons": reasons }),
        Err(failure) => json!({ "part": name, "ready": false, "reasons": [failure.what] }),
    }
}

/// Whether the server answers on its admin socket, which serves gRPC alone.
async fn answers(socket: &Path) -> Result<(bool, Value), Failure> {
    let admin = AdminSocket {
        path: socket.to_owned(),
        server: None,
        identity: None,
    };
    let asking = async {
        let mut client = InfoClient::new(connect(&admin).await?);
        client.get(GetRequest {}).await?;
        Ok((true, Value::Null))
    };
    tokio::time::timeout(WAIT_MAX, asking)
        .await
        .map_err(|_elapsed| Failure::unreachable("no answer in time"))?
}

/// Asks `/ready` over the agent's admin socket.
async fn ready(socket: &Path) -> Result<(bool, Value), Failure> {
    let asking = tokio::time::timeout(WAIT_MAX, get(socket, "/ready"));
    let answer = asking
        .await
        .map_err(|_elapsed| Failure::unreachable("no answer in time"))?;
    let (ok, body) = answer.map_err(|error| {
        Failure::unreachable(format!("no answer at {}: {error}", socket.display()))
    })?;
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    Ok((ok, body.get("reasons").cloned().unwrap_or_default()))
}

/// One HTTP/1.1 request over a Unix socket; the answer ends with the connection.
async fn get(socket: &Path, path: &str) -> std::io::Result<(bool, String)> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let ok = head
        .lines()
        .next()
        .is_some_and(|line| line.contains(" 200 "));
    Ok((ok, body.to_owned()))
}
