//! The layer before all services: nothing reaches a handler that is no gRPC, that the
//! gate did not let through or that has no place among its caller's calls; a body is
//! held to what its call may cost; and a handler's panic ends its own call alone.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use identity::Timestamp;
use records::AuditKind;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use super::Cost;
use super::accounts::{Accounts, InProgress, Member};
use super::body::{CountedBody, KeepingBody};
use super::cost::Counted;
use super::gate::{Denial, Gate};
use super::grpc_only;
use super::origin::Origin;
use super::owner::Owner;
use super::quota::Quota;
use crate::audit::{Audit, Refusal};
use crate::caller::Caller;
use crate::grpc::caller_mistake;
use crate::limits;

/// Calls of which RPCs were refused or panicked.
const CALLS_REFUSED: &str = "bulla_calls_refused_total";
const CALLS_PANICKED: &str = "bulla_calls_panicked_total";
/// Refusals of strangers that were too many to record.
const STRANGERS_UNRECORDED: &str = "bulla_refusals_unrecorded_total";

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Guard<S> {
    gate: Arc<Gate>,
    accounts: Arc<Accounts>,
    refusals: Arc<Refusals>,
    inner: S,
}

/// Where refusals are written down.
struct Refusals {
    audit: Audit,
    /// For callers that anybody on the network can be.
    strangers: Quota,
}

impl<S> Guard<S> {
    /// Puts the gate before a service.
    pub(crate) fn new(gate: Gate, accounts: Arc<Accounts>, audit: Audit, inner: S) -> Self {
        let refusals = Refusals {
            audit,
            strangers: Quota::new(limits::MAX_STRANGER_RECORDS),
        };
        Self {
            gate: Arc::new(gate),
            accounts,
            refusals: Arc::new(refusals),
            inner,
        }
    }
}

impl<S, B> Service<Request<B>> for Guard<S>
where
    S: Service<Request<CountedBody<B>>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
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
        let accounts = Arc::clone(&self.accounts);
        Box::pin(async move {
            if let Some(answer) = grpc_only::refuse(&request) {
                metrics::counter!(CALLS_REFUSED).increment(1);
                return Ok(answer);
            }
            let origin = Origin::of(request.extensions());
            let method = request.uri().path();
            let (admitted, cost) = match gate.admit(method, origin.as_ref()).await {
                Ok(admitted) => admitted,
                Err(denial) => {
                    refusals.record(&denial, method, gate.now()).await;
                    return Ok(denial.status.into_http());
                }
            };
            let member = Arc::new(accounts.open(Owner::of(&admitted.origin)));
            let in_progress = match enter(&member, cost).await {
                Ok(in_progress) => in_progress,
                Err(status) => return Ok(status.into_http()),
            };
            request.extensions_mut().insert(admitted);
            let request = request.map(|body| CountedBody::new(body, cost, Arc::clone(&member)));
            let answered = AssertUnwindSafe(inner.call(request)).catch_unwind().await;
            let response = answered.unwrap_or_else(|_panic| {
                metrics::counter!(CALLS_PANICKED).increment(1);
                tracing::error!("a handler panicked; its call alone is lost");
                Ok(Status::internal("a defect in the server; it is logged there").into_http())
            });
            // A call that failed before its answer began has its status here.
            let response = match response {
                Ok(response) => match Status::from_header_map(response.headers()) {
                    Some(status) if status.code() != Code::Ok => caller_mistake(status).into_http(),
                    _ => response,
                },
                Err(never) => match never {},
            };
            Ok(if cost.counted == Counted::UntilEnd {
                response.map(|body| Body::new(KeepingBody::new(body, in_progress)))
            } else {
                response
            })
        })
    }
}

/// The call's place among those that its caller has in progress.
async fn enter(member: &Member, cost: Cost) -> Result<Option<InProgress>, Status> {
    match cost.counted {
        Counted::Never => Ok(None),
        Counted::UntilAnswer | Counted::UntilEnd => member.enter().await.map(Some),
    }
}

impl Refusals {
    /// One record for a refusal that says something about a caller; what merely
    /// could not be decided now is none.
    async fn record(&self, denial: &Denial, method: &str, now: Timestamp) {
        metrics::counter!(CALLS_REFUSED).increment(1);
        let (Some(caller), Code::PermissionDenied) = (&denial.caller, denial.status.code()) else {
            return;
        };
        if matches!(caller, Caller::Anonymous(_)) && !self.strangers.take(now) {
            metrics::counter!(STRANGERS_UNRECORDED).increment(1);
            return;
        }
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
