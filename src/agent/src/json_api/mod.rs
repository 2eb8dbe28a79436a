//! The local JSON API: what the Workload API gives, for services that have
//! nothing but an HTTP client. It is served on the workload socket beside gRPC,
//! over HTTP/1.1 and HTTP/2.
//!
//! Every request goes the way a gRPC call goes: security header, the caller's
//! share, what is asked for, who the caller is, and only then the answer. What a
//! caller is given here is what the Workload API gives it, from the same cache.
//!
//! Times are Unix seconds everywhere: any language compares them without a parser.
//! The contract is `openapi.json`, which a test holds equal to [`ROUTES`].

mod bundles;
mod check;
mod check_token;
mod conditions;
mod jwt;
mod me;
pub(crate) mod pem;
mod poll;
mod problem;
mod query;
mod revocations;
mod token;
mod x509;

use bytes::Bytes;
use channel::Draining;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;

use crate::process::Attested;
use crate::workload_api::{Admitted, Answer, Connection, check_header};
use conditions::ETag;
use problem::{Kind, Problem};
use query::Query;

/// The contract, as it is served and committed.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// The most bytes of a query.
const MAX_QUERY_BYTES: usize = 8 * 1024;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    X509Svid,
    JwtSvid,
    Bundles,
    Revocations,
    Token,
    Check,
    ExplainMe,
    OpenApi,
}

/// Every path with its one method and its name in the OpenAPI document.
pub(crate) const ROUTES: [(Method, &str, &str, Operation); 8] = [
    (
        Method::GET,
        "/v1/svid/x509",
        "getX509Svid",
        Operation::X509Svid,
    ),
    (
        Method::GET,
        "/v1/svid/jwt",
        "getJwtSvid",
        Operation::JwtSvid,
    ),
    (Method::GET, "/v1/bundles", "getBundles", Operation::Bundles),
    (
        Method::GET,
        "/v1/revocations",
        "getRevocations",
        Operation::Revocations,
    ),
    (Method::POST, "/v1/token", "mintToken", Operation::Token),
    (Method::POST, "/v1/check", "check", Operation::Check),
    (
        Method::GET,
        "/v1/explain/me",
        "explainMe",
        Operation::ExplainMe,
    ),
    (
        Method::GET,
        "/v1/openapi.json",
        "getOpenApi",
        Operation::OpenApi,
    ),
];

/// One request, past the security header.
struct Call<'a> {
    connection: &'a Connection,
    headers: &'a HeaderMap,
    query: Query,
    draining: Option<Draining>,
}

/// Answers any request that is not gRPC.
pub(crate) async fn answer(
    connection: &Connection,
    request: Request<Incoming>,
) -> Response<Answer> {
    match respond(connection, request).await {
        Ok(response) => response,
        Err(problem) => {
            // That a credential is not valid is an answer, not a refusal.
            if problem.kind != Kind::NotValid {
                let log = &connection.api.refusals;
                let kind = problem.kind;
                log.note(connection, kind.name(), kind, &problem.detail);
            }
            problem.response()
        }
    }
}

async fn respond(
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Problem> {
    check_header(request.headers()).map_err(|_status| Kind::MissingHeader.problem())?;
    let uid = connection.caller.peer().uid();
    let now = connection.api.core.clock.boottime();
    let admitted = connection.api.admission.admit(uid, now);
    let admitted = admitted.map_err(|status| Kind::TooManyCalls.because(status.message()))?;
    let operation = route(request.method(), request.uri().path())?;
    let query = request.uri().query().unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES {
        return Err(Kind::QueryTooLong.problem());
    }
    let query = Query::parse(query)?;
    let (mut head, body) = request.into_parts();
    let call = Call {
        connection,
        draining: head.extensions.remove::<Draining>(),
        headers: &head.headers,
        query,
    };
    match operation {
        Operation::X509Svid => poll::answer(call, x509::X509, admitted).await,
        Operation::JwtSvid => {
            let tokens = jwt::Tokens::wanted(&call)?;
            poll::answer(call, tokens, admitted).await
        }
        Operation::Bundles => poll::answer(call, bundles::Bundles, admitted).await,
        Operation::Revocations => poll::answer(call, revocations::RevocationList, admitted).await,
        Operation::Token => {
            let wish = token::Scoped::wanted(&call, body).await?;
            poll::answer(call, wish, admitted).await
        }
        Operation::Check => check::answer(&call, body, admitted).await,
        Operation::ExplainMe => me::answer(&call, admitted).await,
        Operation::OpenApi => {
            call.query.expect(&[])?;
            let document = Bytes::from_static(OPENAPI.as_bytes());
            Ok(json(StatusCode::OK, document, Some(admitted)))
        }
    }
}

fn route(method: &Method, path: &str) -> Result<Operation, Problem> {
    if path.starts_with("/SpiffeWorkloadAPI/") || path.starts_with("/grpc.") {
        return Err(Kind::SpeaksGrpc.problem());
    }
    let known = ROUTES.iter().find(|(_, known, ..)| *known == path);
    let (allowed, .., operation) = known.ok_or_else(|| Kind::NotFound.problem())?;
    if method == allowed {
        Ok(*operation)
    } else {
        Err(Problem {
            allow: Some(allowed.clone()),
            ..Kind::MethodNotAllowed.problem()
        })
    }
}

/// A JSON answer that no cache may keep: most hold secrets.
fn json(status: StatusCode, body: Bytes, admitted: Option<Admitted>) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole {
        bytes: Some(body),
        _admitted: admitted,
    });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn text(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

impl Call<'_> {
    /// Who calls, at this moment.
    async fn attest(&self) -> Result<Attested, Problem> {
        Ok(self.connection.attest().await?)
    }
}
