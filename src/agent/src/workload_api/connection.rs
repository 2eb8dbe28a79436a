//! One connection's requests: the order of checks, and who answers what.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use channel::Draining;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::Status;
use tower::Service;

use super::WorkloadApi;
use super::admission::Admitted;
use super::wire::{self, Answer};
use super::{header, health, scoped, streams, validate};
use crate::hub;
use crate::json_api;
use crate::process::{AttestError, Attested, Caller};
use crate::sds;
use contract::ProcessError;

const PREFIX: &str = "/SpiffeWorkloadAPI/";

/// The service of one connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) api: Arc<WorkloadApi>,
    pub(crate) caller: Arc<Caller>,
}

type Responding = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

impl Service<Request<Incoming>> for Connection {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Responding {
        let connection = self.clone();
        Box::pin(async move {
            if request.method() != Method::POST || !wire::is_grpc(request.headers()) {
                return Ok(json_api::answer(&connection, request).await);
            }
            let outcome = connection.answer(request).await;
            Ok(outcome.unwrap_or_else(|status| {
                let (code, reason) = (status.code(), status.message());
                let log = &connection.api.refusals;
                log.note(&connection, code.description(), code, reason);
                wire::refuse(&status)
            }))
        })
    }
}

impl Connection {
    pub(super) const fn new(api: Arc<WorkloadApi>, caller: Arc<Caller>) -> Self {
        Self { api, caller }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Answer>, Status> {
        let path = request.uri().path();
        let secrets = path.strip_prefix(sds::PREFIX).map(str::to_owned);
        header::check_call(&request, &self.api.core.settings.config.sds)?;
        let admitted = self.admit()?;
        if let Some(method) = secrets {
            return sds::answer(self, &method, request, admitted).await;
        }
        if let Some(method) = path.strip_prefix(scoped::PREFIX) {
            let method = method.to_owned();
            return scoped::answer(self, &method, request, admitted).await;
        }
        let Some(method) = path.strip_prefix(PREFIX) else {
            if path == health::CHECK {
                return Ok(health::answer(self.api.core.why_not_ready().is_empty()));
            }
            return self.api.reflection.answer(request, admitted).await;
        };
        let answer = match method {
            "FetchX509SVID" => hub::Answer::X509Svid,
            "FetchX509Bundles" => hub::Answer::X509Bundles,
            "FetchJWTBundles" => hub::Answer::JwtBundles,
            "FetchJWTSVID" => return self.fetch_jwt_svid(request, admitted).await,
            "ValidateJWTSVID" => return validate::answer(self, request, admitted).await,
            "FetchWITSVID" | "FetchWITBundles" => {
                return Err(Status::unimplemented("this agent does not serve WIT-SVIDs"));
            }
            _ => return Err(Status::unimplemented("the Workload API has no such method")),
        };
        self.open_stream(request, admitted, answer).await
    }

    async fn open_stream(
        &self,
        mut request: Request<Incoming>,
        admitted: Admitted,
        answer: hub::Answer,
    ) -> Result<Response<Answer>, Status> {
        let draining = request.extensions_mut().remove::<Draining>();
        // All three requests are empty messages.
        let _request: api::workload::X509svidRequest = self.message(request).await?;
        let attested = self.attest().await?;
        streams::open(self, &attested, admitted, draining, answer)
    }

    async fn fetch_jwt_svid(
        &self,
        request: Request<Incoming>,
        _admitted: Admitted,
    ) -> Result<Response<Answer>, Status> {
        let wanted: api::workload::JwtsvidRequest = self.message(request).await?;
        let wanted = self.api.tokens.parse(wanted)?;
        let attested = self.attest().await?;
        let message = self
            .api
            .tokens
            .answer(&self.caller, &attested.caller(), wanted)
            .await?;
        Ok(wire::respond(Answer::One(Some(message))))
    }

    /// Counts a call against its user's share.
    pub(crate) fn admit(&self) -> Result<Admitted, Status> {
        let uid = self.caller.peer().uid();
        let now = self.api.core.clock.boottime();
        self.api.admission.admit(uid, now)
    }

    /// The message of a request.
    pub(crate) async fn message<M: Message + Default>(
        &self,
        request: Request<Incoming>,
    ) -> Result<M, Status> {
        let limit = self.api.core.settings.config.limits.request_bytes;
        let bytes: Bytes = wire::read_message(request.into_body(), limit).await?;
        M::decode(bytes)
            .map_err(|e| Status::invalid_argument(format!("the request cannot be read: {e}")))
    }

    /// Opens a view of what this caller is given, against its user's share of views.
    ///
    /// # Errors
    /// There are too many distinct callers, in all or of this user.
    pub(crate) fn subscribe(&self, who: &workload::Caller) -> Result<hub::Subscription, Status> {
        let uid = self.caller.peer().uid();
        let subscribed = self.api.core.hub.subscribe(who, uid);
        subscribed.map_err(|error| Status::unavailable(error.to_string()))
    }

    /// Who calls, at this moment.
    pub(crate) async fn attest(&self) -> Result<Attested, Status> {
        self.caller
            .attest(&self.api.attestors)
            .await
            .map_err(|error| not_attested(&error))
    }
}

/// A caller that could not be attested may call again: most reasons pass, and a
/// client gives up for good on `InvalidArgument` only.
fn not_attested(error: &AttestError) -> Status {
    match error {
        AttestError::Process(error) => process_changed(error),
        error => Status::unavailable(format!("the caller could not be attested: {error}")),
    }
}

/// What a process is told that is not, or is no longer, what it was.
pub(crate) fn process_changed(error: &ProcessError) -> Status {
    match error {
        ProcessError::Refused(_) => {
            Status::permission_denied(format!("no identity issued: {error}"))
        }
        error => Status::unavailable(format!("the caller could not be attested: {error}")),
    }
}
