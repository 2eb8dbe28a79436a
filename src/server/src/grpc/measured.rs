//! How long calls take, by method and status code: the outermost layer, so that what the
//! gate refuses counts too.
//!
//! A call is over with its trailers; a call that streams is measured until it began, since
//! how long it lasts is its caller's choice.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use metrics::SharedString;
use tonic::body::Body;
use tower::Service;

use crate::clock::Clock;

/// The histogram's name.
const RPC_SECONDS: &str = "bulla_rpc_seconds";
/// The label of whatever is none of our methods: a caller may ask for any name.
const UNKNOWN: &str = "unknown";

/// A service whose calls are measured.
#[derive(Clone)]
pub(crate) struct Measured<S> {
    methods: Arc<HashMap<String, bool>>,
    clock: Clock,
    inner: S,
}

impl<S> Measured<S> {
    /// Measures `inner`. `methods` are those that there are, and whether they stream.
    pub(crate) fn new(methods: HashMap<String, bool>, clock: Clock, inner: S) -> Self {
        Self {
            methods: Arc::new(methods),
            clock,
            inner,
        }
    }

    fn watch(&self, path: &str) -> Watch {
        let known = self.methods.get_key_value(path);
        Watch {
            method: known.map_or(SharedString::const_str(UNKNOWN), |(name, _)| {
                SharedString::from(name.trim_start_matches('/').to_owned())
            }),
            streams: known.is_some_and(|(_, streams)| *streams),
            clock: self.clock.clone(),
            began: self.clock.since_boot(),
        }
    }
}

/// One call under way.
struct Watch {
    method: SharedString,
    streams: bool,
    clock: Clock,
    began: Duration,
}

impl Watch {
    fn record(&self, code: &'static str) {
        let took = self.clock.since_boot().saturating_sub(self.began);
        metrics::histogram!(RPC_SECONDS, "method" => self.method.clone(), "code" => code)
            .record(took.as_secs_f64());
    }
}

impl<S, B> Service<Request<B>> for Measured<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let watch = self.watch(request.uri().path());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            // A call that failed before its answer began has its status here.
            if let Some(code) = code(response.headers()) {
                watch.record(code);
                return Ok(response);
            }
            if watch.streams {
                watch.record("OK");
                return Ok(response);
            }
            let watched = |inner| {
                Body::new(Watched {
                    inner,
                    watch: Some(watch),
                })
            };
            Ok(response.map(watched))
        })
    }
}

/// The body of an answer, watched until its trailers.
struct Watched {
    inner: Body,
    watch: Option<Watch>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let ended = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame
                .trailers_ref()
                .map(|trailers| code(trailers).unwrap_or("OK")),
            Poll::Ready(Some(Err(status))) => Some(name(status.code())),
            Poll::Ready(None) => Some("OK"),
            Poll::Pending => None,
        };
        if let Some(code) = ended
            && let Some(watch) = self.watch.take()
        {
            watch.record(code);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // The trailers are still to be seen.
        self.watch.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The caller went away before the answer was complete.
        if let Some(watch) = self.watch.take() {
            watch.record("CANCELLED");
        }
    }
}

/// The code of a status in headers or trailers.
fn code(headers: &HeaderMap) -> Option<&'static str> {
    let status = headers.get("grpc-status")?;
    Some(name(tonic::Code::from_bytes(status.as_bytes())))
}

/// The name that gRPC gives to a code.
const fn name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
