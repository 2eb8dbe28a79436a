//! `GET /v1/explain/pid/{pid}`: for the node's operator alone, since selectors and
//! entries of others are in it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use channel::uds::UnixPeer;
use contract::Strength;
use http::StatusCode;
use serde_json::json;

use crate::explain::{Unexplained, explain};
use crate::workload_api::WorkloadApi;

/// The one route, with its state.
pub(super) fn routes(api: &Arc<WorkloadApi>) -> Router {
    Router::new()
        .route("/v1/explain/pid/{pid}", get(pid))
        .with_state(Arc::clone(api))
}

async fn pid(
    State(api): State<Arc<WorkloadApi>>,
    Extension(asker): Extension<Arc<UnixPeer>>,
    Path(pid): Path<String>,
) -> Response {
    let Ok(pid) = pid.parse() else {
        return refuse(StatusCode::BAD_REQUEST, "a process id is a number");
    };
    // The kernel gave a handle to this connection's process, or it gives none.
    let strength = match asker.pidfd() {
        Some(_) => Strength::Strong,
        None => Strength::Weak,
    };
    match explain(&api, pid, strength).await {
        Ok(explanation) => Json(explanation).into_response(),
        Err(error @ Unexplained::NoProcess(_)) => refuse(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ Unexplained::Hidden(..)) => refuse(StatusCode::FORBIDDEN, &error.to_string()),
    }
}

fn refuse(status: StatusCode, detail: &str) -> Response {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let kind = [(http::header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}
