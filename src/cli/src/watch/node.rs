//! This node's agent, asked again and again on its admin socket.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::event::{Event, NodeState};
use crate::local_http;
use crate::output::text;

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells of every change, for ever. An agent that never answered is no news.
pub(super) async fn follow(socket: &Path, to: mpsc::Sender<Event>) {
    let mut known: Option<NodeState> = None;
    loop {
        let now = match ask(socket).await {
            Some(state) => Some(state),
            None => known.clone().map(gone),
        };
        if let Some(state) = now
            && known.as_ref() != Some(&state)
        {
            known = Some(state.clone());
            if to.send(Event::Node(state)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the agent says now, if one answers.
pub(super) async fn ask(socket: &Path) -> Option<NodeState> {
    let answer = local_http::get(socket, "/v1/status").await.ok()?;
    (answer.status == 200).then(|| state(&answer.body))
}

fn gone(known: NodeState) -> NodeState {
    NodeState {
        ready: false,
        reasons: vec!["no agent answers".to_owned()],
        streams: 0,
        ..known
    }
}

fn state(body: &Value) -> NodeState {
    let number = |name: &str| body.get(name).and_then(Value::as_u64).unwrap_or(0);
    let reasons = body.get("reasons").and_then(Value::as_array);
    let reasons = reasons.into_iter().flatten().filter_map(Value::as_str);
    NodeState {
        ready: body.get("ready") == Some(&Value::Bool(true)),
        reasons: reasons.map(str::to_owned).collect(),
        spiffe_id: text(body, "spiffe_id"),
        streams: number("streams"),
        entries: number("entries"),
        x509_svids: number("x509_svids"),
        jwt_svids: number("jwt_svids"),
        next_renewal_by: body.get("next_renewal_by").and_then(Value::as_i64),
    }
}
