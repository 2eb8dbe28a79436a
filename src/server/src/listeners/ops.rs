//! The operations listener: `/live`, `/ready` with reasons, `/metrics`. Plain HTTP
//! on loopback; it knows nothing that is secret and changes nothing.

use std::future::Future;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use duty::Standing;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::TcpListener;
use tower::limit::ConcurrencyLimitLayer;

use crate::limits;

/// Whether the server can do its work now, check by check.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct Report {
    /// All checks hold, and no duty that matters is late.
    pub ready: bool,
    /// Whether a new start would not help: false asks for one.
    pub live: bool,
    /// Why it is not ready, one sentence each.
    pub reasons: Vec<String>,
    /// Each check with its outcome.
    pub checks: Vec<Check>,
    /// Each duty, and whether it is in time.
    pub duties: Vec<Standing>,
}

/// One readiness check.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct Check {
    /// What was looked at: `store`, `journal`, `clock`, `x509_authority`, ...
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found, and what to do when it does not hold.
    pub detail: String,
}

impl Report {
    /// Puts checks and duties together.
    #[must_use]
    pub(crate) fn of(checks: Vec<Check>, duties: Vec<Standing>) -> Self {
        let bad = checks.iter().filter(|check| !check.ok);
        let bad = bad.map(|check| format!("{}: {}", check.name, check.detail));
        let late = duties.iter().filter(|duty| duty.is_in_the_way());
        let reasons: Vec<String> = bad.chain(late.map(Standing::to_string)).collect();
        Self {
            ready: reasons.is_empty(),
            live: !duties.iter().any(Standing::asks_for_restart),
            reasons,
            checks,
            duties,
        }
    }
}

/// What the listener asks of the server.
pub(crate) trait Vitals: Send + Sync + 'static {
    /// The readiness report.
    fn report(&self) -> Report;
    /// Sets the gauges that are read off the state.
    fn gauge(&self);
}

#[derive(Clone)]
struct Ops {
    vitals: Arc<dyn Vitals>,
    metrics: PrometheusHandle,
}

/// The routes.
pub(crate) fn router(vitals: Arc<dyn Vitals>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(render))
        .layer(ConcurrencyLimitLayer::new(limits::MAX_OPS_CONNECTIONS))
        .with_state(Ops { vitals, metrics })
}

/// Serves the routes until shutdown.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "operations listener ended");
    }
}

/// Only what a new start would mend counts here: a server that waits for its disk or its
/// key storage is not to be killed for it.
async fn live(State(ops): State<Ops>) -> Response {
    let report = ops.vitals.report();
    let late = report.duties.iter().find(|duty| duty.asks_for_restart());
    match late {
        None => (StatusCode::OK, "live\n".to_owned()).into_response(),
        Some(late) => (StatusCode::SERVICE_UNAVAILABLE, format!("{late}\n")).into_response(),
    }
}

async fn ready(State(ops): State<Ops>) -> Response {
    let report = ops.vitals.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

async fn render(State(ops): State<Ops>) -> Response {
    ops.vitals.gauge();
    ops.metrics.run_upkeep();
    ([(CONTENT_TYPE, observe::TEXT_FORMAT)], ops.metrics.render()).into_response()
}
