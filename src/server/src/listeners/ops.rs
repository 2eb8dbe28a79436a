//! The operations listener: `/live`, `/ready` with reasons, `/metrics`. Plain HTTP
//! on loopback; it knows nothing that is secret and changes nothing.

use std::future::Future;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::TcpListener;
use tower::limit::ConcurrencyLimitLayer;

use crate::limits;

/// Whether the server can do its work now, check by check.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct Report {
    /// All checks hold.
    pub ready: bool,
    /// Each check with its outcome.
    pub checks: Vec<Check>,
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
    /// Puts checks together.
    #[must_use]
    pub(crate) fn of(checks: Vec<Check>) -> Self {
        Self {
            ready: checks.iter().all(|check| check.ok),
            checks,
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
        .route("/live", get(|| async { "live\n" }))
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

async fn ready(State(ops): State<Ops>) -> Response {
    let report = ops.vitals.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

async fn render(State(ops): State<Ops>) -> String {
    ops.vitals.gauge();
    ops.metrics.run_upkeep();
    ops.metrics.render()
}
