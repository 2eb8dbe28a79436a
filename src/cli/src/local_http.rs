//! One HTTP request over a Unix socket, for the agent's local APIs.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::failure::{Exit, Failure, advice};

/// The longest answer read, bytes.
const ANSWER_MAX: u64 = 4 * 1024 * 1024;
const WAIT_MAX: Duration = Duration::from_secs(15);

/// An answer: its status and its JSON.
pub(crate) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null when it is no JSON.
    pub body: Value,
}

/// Asks for a path, with the security header of the workload socket.
///
/// # Errors
/// Nobody listens there, or nobody answers in time.
pub(crate) async fn get(socket: &Path, path: &str) -> Result<Answer, Failure> {
    answered(socket, &head("GET", path, "")).await
}

/// Posts JSON to a path, with the security header of the workload socket.
///
/// # Errors
/// Nobody listens there, or nobody answers in time.
pub(crate) async fn post(socket: &Path, path: &str, body: &Value) -> Result<Answer, Failure> {
    let body = body.to_string();
    let more = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    answered(socket, &(head("POST", path, &more) + &body)).await
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{}: true\r\nConnection: close\r\n{more}\r\n",
        api::WORKLOAD_HEADER
    )
}

async fn answered(socket: &Path, request: &str) -> Result<Answer, Failure> {
    let away = |why: String| {
        Failure::unreachable(format!("no agent answers at {}: {why}", socket.display())).next(
            advice(
                &why,
                "agent",
                "start one with `bulla agent`, or name its socket",
            ),
        )
    };
    let asking = tokio::time::timeout(WAIT_MAX, exchange(socket, request));
    let answer = asking.await.map_err(|_elapsed| away("time is up".into()))?;
    let answer = answer.map_err(|error| away(error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or_else(|| {
            Failure::usage(format!(
                "what answers at {} is not a Bulla agent",
                socket.display()
            ))
            .next("a server's admin socket? name the agent's with --agent-admin-socket")
        })?,
        body: serde_json::from_str(body).unwrap_or_default(),
    })
}

impl Answer {
    /// The body of an answer that is no error.
    ///
    /// # Errors
    /// What the agent's problem document says.
    pub(crate) fn ok(self) -> Result<Value, Failure> {
        if self.status == 200 {
            return Ok(self.body);
        }
        let exit = match self.status {
            404 => Exit::NotFound,
            429 | 503 => Exit::Unreachable,
            400 => Exit::Usage,
            _ => Exit::Refused,
        };
        let said = |member: &str| {
            let text = self.body.get(member).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        let what = said("detail").unwrap_or_else(|| format!("the agent answers {}", self.status));
        let failure = Failure::new(exit, what);
        Err(match said("next") {
            Some(next) => failure.next(next),
            None => failure,
        })
    }
}

/// The answer ends with the connection.
async fn exchange(socket: &Path, request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}
