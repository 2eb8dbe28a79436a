//! The gate as a tower layer, for axum, tonic and hyper services: a call that is not
//! allowed never reaches the service; one that is carries [`Allowed`] in its
//! extensions.

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use identity::{Seconds, Timestamp};
use tower::{Layer, Service};

use super::{Allowed, Call, Denied, Gate, Trusted};
use crate::ProofsSeen;

/// What clocks may differ.
const LEEWAY: Seconds = Seconds(10);

/// The caller's leaf certificate, DER: whoever terminates mutual TLS puts it into
/// the request's extensions. Never taken from a header.
#[derive(Clone, Debug)]
pub struct PeerCertificate(pub Arc<[u8]>);

/// Makes the enforcement point of a service with one audience.
///
/// `trusted` answers with what was received last, `now` with the time; both are asked
/// on each call, so that a new catalogue or key counts at once.
#[derive(Clone)]
pub struct EnforceLayer {
    inner: Arc<Shared>,
}

struct Shared {
    audience: String,
    trusted: Box<dyn Fn() -> Trusted + Send + Sync>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    proofs: Mutex<ProofsSeen>,
}

impl EnforceLayer {
    /// The enforcement point of the service with this audience, behind HTTPS.
    pub fn new(
        audience: &str,
        trusted: impl Fn() -> Trusted + Send + Sync + 'static,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Arc::new(Shared {
                audience: audience.to_owned(),
                trusted: Box::new(trusted),
                now: Box::new(now),
                proofs: Mutex::new(ProofsSeen::default()),
            }),
        }
    }
}

impl Shared {
    fn check(&self, head: &http::request::Parts) -> Result<Allowed, Denied> {
        let now = (self.now)();
        let gate = Gate::new((self.trusted)(), &self.audience);
        let uri = full_uri(&head.uri, &head.headers);
        let certificate = head.extensions.get::<PeerCertificate>();
        let call = Call {
            token: token(&head.headers),
            certificate: certificate.map(|c| &*c.0),
            proof: only(&head.headers, &HeaderName::from_static("dpop")),
            method: head.method.as_str(),
            path: head.uri.path(),
            uri: uri.as_deref(),
        };
        let allowed = gate.check(&call, now, LEEWAY)?;
        if let Some(proof) = allowed.token.proof {
            // A panic elsewhere leaves the set as it was: still good.
            let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
            proofs.accept(proof, now)?;
        }
        Ok(allowed)
    }
}

/// The one value of a header; two of them are none, since readers differ on which counts.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let value = all.next()?;
    let alone = all.next().is_none();
    alone.then(|| value.to_str().ok()).flatten()
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, &AUTHORIZATION)?.split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop");
    known.then(|| token.trim())
}

/// The URI as the client wrote it: HTTP/2 carries the host in the URI, HTTP/1 in `Host`.
fn full_uri(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => only(headers, &HOST)?,
    };
    Some(format!("https://{host}{}", uri.path()))
}

impl<S> Layer<S> for EnforceLayer {
    type Service = Enforce<S>;

    fn layer(&self, service: S) -> Enforce<S> {
        Enforce {
            service,
            shared: Arc::clone(&self.inner),
        }
    }
}

/// A service behind its enforcement point.
#[derive(Clone)]
pub struct Enforce<S> {
    service: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for Enforce<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        match self.shared.check(&head) {
            Ok(allowed) => {
                head.extensions.insert(Arc::new(allowed));
                Either::Left(self.service.call(Request::from_parts(head, body)))
            }
            Err(denied) => Either::Right(ready(Ok(refusal(&denied, &head.headers)))),
        }
    }
}

/// The answer to a denied call, without a body: gRPC reads a status of its own.
fn refusal<R: Default>(denied: &Denied, headers: &HeaderMap) -> Response<R> {
    let mut response = Response::new(R::default());
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_grpc = kind.is_some_and(|kind| kind.starts_with(b"application/grpc"));
    // Both texts are ASCII of bounded length, so they are always header values.
    let value = |text: String| HeaderValue::from_str(&text).ok();
    let (name, text) = if is_grpc {
        let code = HeaderValue::from(u16::from(denied.grpc_code()));
        let out = response.headers_mut();
        out.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        out.insert(HeaderName::from_static("grpc-status"), code);
        let name = HeaderName::from_static("grpc-message");
        (name, value(denied.grpc_message()))
    } else {
        *response.status_mut() = denied.status();
        let out = response.headers_mut();
        out.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        (WWW_AUTHENTICATE, value(denied.challenge()))
    };
    if let Some(text) = text {
        response.headers_mut().insert(name, text);
    }
    response
}
