//! For the node's operator: health, inventory and metrics over HTTP, on a Unix
//! socket of mode 0600 and, when configured, on loopback.
//!
//! | path | socket | loopback | what |
//! |---|---|---|---|
//! | `/live` | yes | yes | the process runs |
//! | `/ready` | yes | yes | workloads can be served; with the reasons for what does not work |
//! | `/metrics` | | yes | Prometheus text |
//! | `/v1/cache` | yes | | entries and the expiry of their SVIDs; no secret is in it |
//! | `/v1/explain/pid/{pid}` | yes | | what is attested of a process, what that gives it, what nearly would |

mod explain;
mod report;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use channel::uds::UnixPeer;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use tower::util::Oneshot;
use tower::{Service, ServiceExt as _};

use crate::core::Core;
use crate::workload_api::WorkloadApi;
use report::{Inventory, Readiness};

/// The service of the admin socket: its router behind a look at who connected.
#[derive(Clone)]
pub(crate) struct AdminSocket {
    routes: Router,
    ours: u32,
}

impl AdminSocket {
    pub(crate) fn new(core: &Arc<Core>, api: &Arc<WorkloadApi>) -> Self {
        let routes = health(core)
            .route("/v1/cache", get(cache))
            .with_state(Arc::clone(core))
            .merge(explain::routes(api));
        Self {
            routes,
            ours: rustix::process::geteuid().as_raw(),
        }
    }

    // The mode of the socket says the same; this also holds for a descriptor
    // that was handed on, and when somebody changed the mode.
    fn admits(&self, request: &Request<Incoming>) -> bool {
        request
            .extensions()
            .get::<Arc<UnixPeer>>()
            .is_some_and(|peer| peer.uid() == 0 || peer.uid() == self.ours)
    }
}

impl Service<Request<Incoming>> for AdminSocket {
    type Response = Response;
    type Error = Infallible;
    type Future = Oneshot<Router, Request<axum::body::Body>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let routes = if self.admits(&request) {
            self.routes.clone()
        } else {
            tracing::warn!("refused a caller of the admin socket");
            Router::new().fallback(|| async { StatusCode::FORBIDDEN })
        };
        routes.oneshot(request.map(axum::body::Body::new))
    }
}

/// The routes of the loopback listener.
pub(crate) fn ops(core: &Arc<Core>, metrics: PrometheusHandle) -> Router {
    let render = move |State(core): State<Arc<Core>>| async move {
        report::set_gauges(&core);
        metrics.run_upkeep();
        metrics.render()
    };
    health(core)
        .route("/metrics", get(render))
        .with_state(Arc::clone(core))
}

fn health(_core: &Arc<Core>) -> Router<Arc<Core>> {
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
}

async fn ready(State(core): State<Arc<Core>>) -> Response {
    let readiness = Readiness::of(&core);
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

async fn cache(State(core): State<Arc<Core>>) -> Json<Inventory> {
    Json(Inventory::of(&core))
}
