//! For the node's operator: health, inventory and metrics over HTTP, on a Unix
//! socket of mode 0600 and, when configured, on loopback.
//!
//! | path | socket | loopback | what |
//! |---|---|---|---|
//! | `/live` | yes | yes | the process need not be started again |
//! | `/ready` | yes | yes | workloads can be served; with the reasons for what does not work |
//! | `/metrics` | | yes | Prometheus text |
//! | `/v1/cache` | yes | | entries and the expiry of their SVIDs; no secret is in it |
//! | `/v1/status` | yes | | how many streams, entries and SVIDs, and when the next is renewed |
//! | `/v1/explain/pid/{pid}` | yes | | what is attested of a process, what that gives it, what nearly would |
//! | gRPC `DelegatedIdentity` | yes | | identities of workloads, for proxies that act in their name ([`delegated`]) |
//! | gRPC `Debug/GetInfo` | yes | | what SPIRE's tools ask an agent |

mod debug;
mod explain;
mod report;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use channel::uds::UnixPeer;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use tower::{Service, ServiceExt as _};

use crate::core::Core;
use crate::delegated;
use crate::workload_api::{Answer, Connection, WorkloadApi, is_grpc, respond};
use report::{Inventory, Readiness, Status};

/// The service of the admin socket: its router behind a look at who connected.
#[derive(Clone)]
pub(crate) struct AdminSocket {
    routes: Router,
    api: Arc<WorkloadApi>,
    ours: u32,
    opened: Duration,
}

/// The service of one connection to it.
#[derive(Clone)]
pub(crate) struct AdminConnection {
    socket: Arc<AdminSocket>,
    connection: Connection,
}

impl AdminSocket {
    pub(crate) fn new(core: &Arc<Core>, api: &Arc<WorkloadApi>) -> Arc<Self> {
        let routes = health(core)
            .route("/v1/cache", get(cache))
            .route("/v1/status", get(status))
            .with_state(Arc::clone(core))
            .merge(explain::routes(api));
        Arc::new(Self {
            routes,
            api: Arc::clone(api),
            ours: rustix::process::geteuid().as_raw(),
            opened: core.clock.boottime(),
        })
    }

    /// The service of one connection, from the moment it is accepted: a delegate is
    /// attested as any workload is.
    pub(crate) fn accept(self: &Arc<Self>, peer: &Arc<UnixPeer>) -> AdminConnection {
        AdminConnection {
            socket: Arc::clone(self),
            connection: self.api.accept(peer),
        }
    }
}

impl AdminConnection {
    // The mode of the socket says the same; this also holds for a descriptor
    // that was handed on, and when somebody changed the mode.
    fn is_admitted(&self) -> bool {
        let uid = self.connection.caller.peer().uid();
        uid == 0 || uid == self.socket.ours
    }

    async fn answer(self, request: Request<Incoming>) -> Response {
        if !self.is_admitted() {
            tracing::warn!("refused a caller of the admin socket");
            return StatusCode::FORBIDDEN.into_response();
        }
        let path = request.uri().path();
        let is_call = request.method() == Method::POST && is_grpc(request.headers());
        if is_call && path.starts_with(delegated::PREFIX) {
            let answer = delegated::answer(&self.connection, request).await;
            return answer.map(axum::body::Body::new);
        }
        if is_call && path == debug::GET_INFO {
            let core = &self.connection.api.core;
            let uptime = core.clock.boottime().saturating_sub(self.socket.opened);
            let info = debug::info(core, uptime.as_secs());
            return respond(Answer::One(Some(info))).map(axum::body::Body::new);
        }
        let routes = self.socket.routes.clone();
        let request = request.map(axum::body::Body::new);
        routes
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {})
    }
}

impl Service<Request<Incoming>> for AdminConnection {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move { Ok(connection.answer(request).await) })
    }
}

/// The routes of the loopback listener.
pub(crate) fn ops(core: &Arc<Core>, metrics: PrometheusHandle) -> Router {
    let render = move |State(core): State<Arc<Core>>| async move {
        report::set_gauges(&core);
        observe::set_process();
        metrics.run_upkeep();
        ([(CONTENT_TYPE, observe::TEXT_FORMAT)], metrics.render())
    };
    health(core)
        .route("/metrics", get(render))
        .with_state(Arc::clone(core))
}

fn health(_core: &Arc<Core>) -> Router<Arc<Core>> {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
}

/// The process is to be started again when something that must happen by itself is not
/// even tried any more.
async fn live(State(core): State<Arc<Core>>) -> Response {
    match core.duties.asks_for_restart(core.clock.boottime()) {
        None => "live\n".into_response(),
        Some(stuck) => (StatusCode::SERVICE_UNAVAILABLE, format!("{stuck}\n")).into_response(),
    }
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

async fn status(State(core): State<Arc<Core>>) -> Json<Status> {
    Json(Status::of(&core))
}
