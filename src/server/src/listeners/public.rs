//! The public listener, HTTPS: who may verify tokens finds the keys here, by OIDC
//! discovery or OAuth metadata (RFC 8414). It knows nothing secret, asks nobody who
//! they are and changes nothing; what a stranger can cost is bounded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use channel::{Limits, WebIdentity};
use duty::Duty;
use serde_json::json;
use tower::limit::ConcurrencyLimitLayer;

use crate::clock::Clock;
use crate::config::PublicSettings;
use crate::limits;
use crate::secrets;
use crate::server::Server;

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The files of the web certificate; read again whenever they change.
pub(crate) struct WebFiles {
    certificate: PathBuf,
    key: PathBuf,
    pub(crate) identity: Arc<WebIdentity>,
}

impl WebFiles {
    /// Reads the files once.
    ///
    /// # Errors
    /// They cannot be read or are no certificate and its key.
    pub(crate) fn open(settings: &PublicSettings) -> Result<Self, String> {
        let files = Self {
            certificate: settings.certificate.clone(),
            key: settings.key.clone(),
            identity: Arc::default(),
        };
        files.take(&files.read()?)?;
        Ok(files)
    }

    fn read(&self) -> Result<(Vec<u8>, zeroize::Zeroizing<Vec<u8>>), String> {
        let read = |path: &PathBuf| {
            let told = |why: String| format!("{}: {why}", path.display());
            let size = std::fs::metadata(path)
                .map_err(|e| told(e.to_string()))?
                .len();
            if size > limits::MAX_PEM_BYTES {
                return Err(told(format!("it has {size} bytes")));
            }
            std::fs::read(path).map_err(|e| told(e.to_string()))
        };
        let key = secrets::read_key("public.key", &self.key, limits::MAX_PEM_BYTES);
        Ok((read(&self.certificate)?, key.map_err(|e| e.to_string())?))
    }

    fn take(&self, (chain, key): &(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)) -> Result<(), String> {
        let set = self.identity.set(chain, key);
        set.map_err(|error| format!("{}: {error}", self.certificate.display()))
    }

    /// Reads the files again when they changed, until shutdown. What cannot be used
    /// is told and left; the certificate before it stays.
    pub(crate) async fn watch(
        self,
        (duty, clock): (Duty, Clock),
        stopped: impl Future<Output = ()>,
    ) {
        tokio::pin!(stopped);
        duty.expect(clock.since_boot());
        let mut known = self.read().ok();
        let mut taken = Ok(());
        loop {
            tokio::select! {
                () = &mut stopped => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = match self.read() {
                Ok(now) => now,
                Err(why) => {
                    tracing::warn!(why, "the public certificate cannot be read again");
                    duty.failed(clock.since_boot(), why);
                    continue;
                }
            };
            if known.as_ref() != Some(&now) {
                taken = self.take(&now);
                match &taken {
                    Ok(()) => tracing::info!("the public certificate was replaced"),
                    Err(why) => tracing::warn!(why, "the public certificate was not replaced"),
                }
                known = Some(now);
            }
            // A certificate that could not be taken stays a fault until it is replaced.
            duty.report(clock.since_boot(), &taken);
        }
    }
}

#[derive(Clone)]
struct Published {
    server: Arc<Server>,
    issuer: Arc<str>,
}

/// The routes, under the issuer's own path.
pub(crate) fn router(server: Arc<Server>) -> Router {
    let issuer = server.settings.issuer();
    // https://host/path: what follows the host, without a slash at the end.
    let path = issuer.splitn(4, '/').nth(3).unwrap_or_default();
    let path = path.trim_end_matches('/');
    let base = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    let published = Published {
        server,
        issuer: issuer.trim_end_matches('/').into(),
    };
    Router::new()
        .route(
            &format!("{base}/.well-known/openid-configuration"),
            get(openid),
        )
        .route(
            &format!("/.well-known/oauth-authorization-server{base}"),
            get(oauth),
        )
        .route(&format!("{base}/keys"), get(keys))
        .route(&format!("{base}/authorize"), get(elsewhere).post(elsewhere))
        .route(&format!("{base}/token"), get(elsewhere).post(elsewhere))
        .layer(DefaultBodyLimit::max(limits::MAX_PUBLIC_BODY_BYTES))
        .layer(ConcurrencyLimitLayer::new(limits::MAX_PUBLIC_CONNECTIONS))
        .with_state(published)
}

/// What strangers may cost on so many connections (two at least).
pub(crate) fn strangers(connections: usize) -> Limits {
    Limits {
        connections,
        connections_per_origin: (connections / 8).max(1),
        // Nobody is asked for a certificate here.
        pending_connections: (connections / 4).max(1),
        pending_per_address: (connections / 16).max(1),
        anonymous_connections: connections - (connections / 4).max(1),
        http1: true,
        handshakes: 16,
        connection_age: Some(limits::PUBLIC_AGE),
        concurrent_streams: 8,
        anonymous_streams: 8,
        header_list_bytes: 8 << 10,
        stream_window_bytes: 16 << 10,
        connection_window_bytes: 64 << 10,
        drain: limits::DRAIN,
        ..Limits::server()
    }
}

fn document(published: &Published, kind: &'static str, body: String) -> Response {
    let seconds = published.server.authorities.key_set_lifetime().0;
    let cache = format!("public, max-age={seconds}");
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CACHE_CONTROL, cache),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, body).into_response()
}

/// OIDC Discovery 1.0 section 3, as clouds' token federation reads it. Both endpoints
/// are required by the standards and exist, though they give nothing.
async fn openid(State(published): State<Published>) -> Response {
    let issuer = &published.issuer;
    let body = json!({
        "issuer": published.server.settings.issuer(),
        "jwks_uri": format!("{issuer}/keys"),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "response_types_supported": ["id_token"],
        "grant_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "ES384", "RS256"],
    });
    document(&published, "application/json", body.to_string())
}

/// RFC 8414 section 2. Tokens come from the agent, so no grant type is supported.
async fn oauth(State(published): State<Published>) -> Response {
    let issuer = &published.issuer;
    let body = json!({
        "issuer": published.server.settings.issuer(),
        "jwks_uri": format!("{issuer}/keys"),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "token_endpoint_auth_methods_supported": ["none"],
        "response_types_supported": ["none"],
        "grant_types_supported": [],
        "tls_client_certificate_bound_access_tokens": true,
        "dpop_signing_alg_values_supported": verify::PROOF_ALGORITHMS,
    });
    document(&published, "application/json", body.to_string())
}

/// The endpoints that metadata must name: whoever asks is told where tokens come from
/// (RFC 6749 section 5.2). What they sent is read first: some clients take an answer
/// that comes before the end of their request for a broken connection.
async fn elsewhere(sent: Result<Bytes, BytesRejection>) -> Response {
    drop(sent);
    let body = json!({
        "error": "unsupported_grant_type",
        "error_description": "no token is given here: a workload asks the agent on its node, POST /v1/token on its socket",
    });
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::BAD_REQUEST, headers, body.to_string()).into_response()
}

/// This server's own keys of both profiles: tokens name theirs in `kid`, and `typ` tells
/// the profiles apart. Keys that others brought into the bundle are not among them: a
/// verifier would accept access tokens that they sign.
async fn keys(State(published): State<Published>) -> Response {
    let own = published.server.state.own_part();
    let keys = own
        .iter()
        .flat_map(|own| own.jwt_authorities.iter().chain(&own.access_keys));
    let body = verify::bundle_format::encode_web_keys(keys);
    document(&published, "application/jwk-set+json", body)
}
