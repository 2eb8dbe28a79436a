//! What goes wrong, as problem documents (RFC 9457) that say what to do next.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use crate::hub::NO_IDENTITY;
use crate::workload_api::Answer;

/// The sorts of problems there are; the names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MissingHeader,
    BadRequest,
    NoIdentity,
    ProcessRefused,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    QueryTooLong,
    SpeaksGrpc,
    NotJson,
    NotValid,
    TooManyCalls,
    Unavailable,
    TokenDenied,
    TokenRequest,
    TokenRate,
    NotAllowed,
}

/// One problem.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    /// What happened this time. Never holds a secret: it is logged.
    pub(super) detail: String,
    /// The method that is allowed, where another was used.
    pub(super) allow: Option<Method>,
    /// Members beyond the standard's.
    pub(super) more: Map<String, Value>,
    /// Seconds to wait before asking again, where it is more than one.
    pub(super) retry_after: Option<u32>,
}

/// Name, status, title, what happened, what to do.
type Text = (
    &'static str,
    StatusCode,
    &'static str,
    &'static str,
    &'static str,
);

impl Kind {
    #[cfg(test)]
    pub(super) const ALL: [Self; 17] = [
        Self::MissingHeader,
        Self::BadRequest,
        Self::NoIdentity,
        Self::ProcessRefused,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::QueryTooLong,
        Self::SpeaksGrpc,
        Self::NotJson,
        Self::NotValid,
        Self::TooManyCalls,
        Self::Unavailable,
        Self::TokenDenied,
        Self::TokenRequest,
        Self::TokenRate,
        Self::NotAllowed,
    ];

    #[rustfmt::skip]
    const fn text(self) -> Text {
        match self {
            Self::MissingHeader => ("missing-header", StatusCode::BAD_REQUEST,
                "Security header missing", "the request lacks the header that keeps tricked HTTP clients out",
                "send the header 'workload.spiffe.io: true', exactly once"),
            Self::BadRequest => ("bad-request", StatusCode::BAD_REQUEST,
                "Request not understood", "the request cannot be understood",
                "compare the request with GET /v1/openapi.json"),
            Self::NoIdentity => ("no-identity", StatusCode::FORBIDDEN,
                "No identity", "no registration entry matches this process",
                "GET /v1/explain/me says what was attested of this process; an admin registers it with `bulla entry create`, and finds near misses with `bulla explain pid`"),
            Self::ProcessRefused => ("process-refused", StatusCode::FORBIDDEN,
                "Process not attested", "the agent cannot attest this process",
                "the detail says what stands against it; the administrator of this node can change that, registering the process does not"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND,
                "No such path", "nothing is served at this path",
                "GET /v1/openapi.json lists the paths"),
            Self::MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed", "this path takes another method",
                "use the method that the Allow header names"),
            Self::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE,
                "Body too large", "the body is larger than limits.request_bytes",
                "send one token or one certificate chain only; an admin can raise limits.request_bytes"),
            Self::QueryTooLong => ("query-too-long", StatusCode::URI_TOO_LONG,
                "Query too long", "the query has more than 8192 bytes",
                "ask for fewer audiences in one request"),
            Self::SpeaksGrpc => ("speaks-grpc", StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "This path speaks gRPC", "this path is the SPIFFE Workload API, which is gRPC",
                "use a SPIFFE client library, or the JSON paths that GET /v1/openapi.json lists"),
            Self::NotJson => ("not-json", StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Not JSON", "the body is not declared as JSON",
                "send the header 'content-type: application/json'"),
            Self::NotValid => ("not-valid", StatusCode::UNPROCESSABLE_ENTITY,
                "Not valid", "what was checked is not valid",
                "do not serve the peer; if it should be valid, compare audience, clocks and GET /v1/bundles"),
            Self::TooManyCalls => ("too-many-calls", StatusCode::TOO_MANY_REQUESTS,
                "Too many calls", "this user has too many calls open or makes them too fast",
                "wait as long as the Retry-After header says; long-poll with If-None-Match and 'Prefer: wait=30' in place of asking often"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE,
                "Not available now", "the agent cannot answer now",
                "ask again; `bulla healthcheck --only agent` says what the agent waits for"),
            Self::TokenDenied => ("token-denied", StatusCode::FORBIDDEN,
                "No permission granted", "no policy grants what was asked for",
                "refused says which policy or condition stood against it; an admin sees all of it with `bulla explain decision`"),
            Self::TokenRequest => ("token-request", StatusCode::BAD_REQUEST,
                "Token request not possible", "the audience's catalogue has no such token",
                "ask for an audience, permissions, details, profile and lifetime that the service's catalogue entry allows"),
            Self::TokenRate => ("token-rate", StatusCode::TOO_MANY_REQUESTS,
                "Too many tokens", "a policy limits how often such tokens are minted",
                "use the token in hand until its renew_at; wait as long as the Retry-After header says"),
            Self::NotAllowed => ("not-allowed", StatusCode::FORBIDDEN,
                "Call not allowed", "the token does not allow this call",
                "do not serve the call; its caller has to ask for a token with the permission that is named"),
        }
    }

    /// The last part of the problem's type.
    pub(super) const fn name(self) -> &'static str {
        self.text().0
    }

    /// The problem as it usually is.
    pub(super) fn problem(self) -> Problem {
        self.because(self.text().3)
    }

    /// The problem with what happened this time.
    pub(super) fn because(self, detail: impl Into<String>) -> Problem {
        Problem {
            kind: self,
            detail: detail.into(),
            allow: None,
            more: Map::new(),
            retry_after: None,
        }
    }
}

impl Problem {
    pub(super) fn response(&self) -> Response<Answer> {
        let (name, status, title, _, next) = self.kind.text();
        let mut body = json!({
            "type": format!("urn:bulla:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "next": next,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(self.more.clone());
        }
        let mut response = super::json(status, Bytes::from(body.to_string()), None);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if matches!(
            self.kind,
            Kind::TooManyCalls | Kind::Unavailable | Kind::TokenRate
        ) {
            let seconds = HeaderValue::from(self.retry_after.unwrap_or(1));
            headers.insert(header::RETRY_AFTER, seconds);
        }
        if let Some(allow) = &self.allow
            && let Ok(value) = HeaderValue::from_str(allow.as_str())
        {
            headers.insert(header::ALLOW, value);
        }
        response
    }
}

/// What the Workload API would have said.
impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let kind = match status.code() {
            Code::InvalidArgument => Kind::BadRequest,
            Code::PermissionDenied if status.message() == NO_IDENTITY => Kind::NoIdentity,
            Code::PermissionDenied => Kind::ProcessRefused,
            Code::ResourceExhausted => Kind::TooManyCalls,
            _ => Kind::Unavailable,
        };
        kind.because(status.message())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Kind;

    #[test]
    fn every_problem_has_a_name_of_its_own_and_a_row_in_the_guide() {
        let guide = include_str!("../../../../docs/json-api.md");
        let mut names = BTreeSet::new();
        for kind in Kind::ALL {
            let (name, status, ..) = kind.text();
            assert!(names.insert(name), "{name} twice");
            assert!(status.is_client_error() || status.is_server_error());
            let row = format!("| {} | `{name}` |", status.as_u16());
            assert!(guide.contains(&row), "docs/json-api.md lacks {row}");
        }
    }
}
