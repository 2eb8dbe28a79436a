//! The layer before all services: nothing reaches a handler that the gate did not
//! let through, and a handler's panic ends its own call alone.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use records::AuditKind;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use super::gate::{Denial, Gate};
use super::origin::Origin;
use crate::audit::{Audit, Refusal};
use crate::grpc::caller_mistake;

/// Calls of which RPCs were refused or panicked.
const CALLS_REFUSED: &str = "bulla_calls_refused_total";
const CALLS_PANICKED: &str = "bulla_calls_panicked_total";

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Guard<S> {
    gate: Arc<Gate>,
    refusals: Arc<Refusals>,
    inner: S,
}

/// Where refusals are written down.
struct Refusals {
    audit: Audit,
}

impl<S> Guard<S> {
    /// Puts the gate before a service.
    pub(crate) fn new(gate: Gate, audit: Audit, inner: S) -> Self {
        let refusals = Refusals { audit };
        Self {
            gate: Arc::new(gate),
            refusals: Arc::new(refusals),
            inner,
        }
    }
}

impl<S, B> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        // The one that is ready is the one to call.
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let (gate, refusals) = (Arc::clone(&self.gate), Arc::clone(&self.refusals));
        Box::pin(async move {
            let origin = Origin::of(request.extensions());
            let method = request.uri().path();
            match gate.admit(method, origin.as_ref()).await {
                Ok(admitted) => request.extensions_mut().insert(admitted),
                Err(denial) => {
                    refusals.record(&denial, method).await;
                    return Ok(denial.status.into_http());
                }
            };
            let answered = AssertUnwindSafe(inner.call(request)).catch_unwind().await;
            let response = answered.unwrap_or_else(|_panic| {
                metrics::counter!(CALLS_PANICKED).increment(1);
                tracing::error!("a handler panicked; its call alone is lost");
                Ok(Status::internal("a defect in the server; it is logged there").into_http())
            });
            // A call that failed before its answer began has its status here.
            Ok(match response {
                Ok(response) => match Status::from_header_map(response.headers()) {
                    Some(status) if status.code() != Code::Ok => caller_mistake(status).into_http(),
                    _ => response,
                },
                Err(never) => match never {},
            })
        })
    }
}

impl Refusals {
    /// One record for a refusal that says something about a caller; what merely
    /// could not be decided now is none.
    async fn record(&self, denial: &Denial, method: &str) {
        metrics::counter!(CALLS_REFUSED).increment(1);
        let (Some(caller), Code::PermissionDenied) = (&denial.caller, denial.status.code()) else {
            return;
        };
        let reason = format!("{method}: {}", denial.status.message());
        self.audit
            .refuse(Refusal {
                kind: AuditKind::Refusal,
                caller,
                for_whom: "",
                entry_id: "",
                reason: &reason,
            })
            .await;
    }
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
