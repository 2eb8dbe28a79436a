//! The enforcement point: which calls reach a service.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use identity::{Revocation, RevocationList, Revoked, SpiffeId};
use keys::KeyType;
use policy::{Catalogue, SourceFile};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tower::{Layer as _, Service as _};
use verify::enforce::{Allowed, EnforceLayer, PeerCertificate, Trusted};
use verify::{Revocations, TokenIssuer};

use crate::kit::{JwtKey, NOW, b64, good_header, jwt_bundle, td, token_of};

const CERTIFICATE: &[u8] = b"the caller's certificate";
const DB: &str = "\
audience: db
owner: team-db
profiles: [at+jwt, jwt-svid]
permissions:
  - name: db:read
    endpoints:
      http: ['GET /rows/{id}']
      grpc: [db.v1.Db/Get]
  - name: db:drop
    risk: high
    endpoints: {http: [DELETE /rows]}
  - name: db:write
    details:
      urn:rows:
        type: object
        required: [max]
        properties: {type: {const: 'urn:rows'}, max: {type: integer}}
    details_required: true
    endpoints: {http: [POST /rows]}
  - name: db:old
    sunset: 1971-01-01
    endpoints: {http: [GET /old]}
";

struct Rig {
    access: JwtKey,
    svid: JwtKey,
    revoked: Option<Arc<Revocations>>,
}

/// What a call came to: the answer, and what the service was told.
struct Came {
    response: Response<String>,
    allowed: Option<Arc<Allowed>>,
}

impl Rig {
    fn new() -> Self {
        Self {
            access: JwtKey::new(KeyType::EcP256),
            svid: JwtKey::new(KeyType::EcP256),
            revoked: None,
        }
    }

    fn trusted(&self) -> Trusted {
        let file = SourceFile {
            name: "catalogue/db.yaml".into(),
            text: DB.into(),
        };
        Trusted {
            bundles: Arc::new(jwt_bundle(&self.svid)),
            revocations: Arc::new(self.revoked.clone()),
            issuer: Arc::new(TokenIssuer {
                issuer: "https://issuer.f.test".into(),
                trust_domain: td("f.test"),
                keys: vec![self.access.authority("a1")],
            }),
            catalogue: Catalogue::read(&[file]).unwrap(),
        }
    }

    /// Calls a service that answers everything with 200.
    fn call(&self, request: Request<()>) -> Came {
        let trusted = self.trusted();
        let layer = EnforceLayer::new("db", move || trusted.clone(), || NOW);
        let told = Arc::new(Mutex::new(None));
        let inside = Arc::clone(&told);
        let service = tower::service_fn(move |request: Request<()>| {
            let allowed = request.extensions().get::<Arc<Allowed>>().cloned();
            *inside.lock().unwrap() = allowed;
            std::future::ready(Ok::<_, Infallible>(Response::new("served".to_owned())))
        });
        let mut future = Box::pin(layer.layer(service).call(request));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut context) else {
            panic!("nothing to wait for");
        };
        let allowed = told.lock().unwrap().take();
        Came { response, allowed }
    }

    fn access_token(&self, scope: &str, details: Value) -> String {
        let header = json!({"alg": "ES256", "kid": "a1", "typ": "at+jwt"}).to_string();
        let claims = json!({
            "iss": "https://issuer.f.test", "sub": "spiffe://f.test/web",
            "client_id": "spiffe://f.test/web", "aud": "db", "exp": NOW.0 + 300,
            "iat": NOW.0, "jti": "j1", "scope": scope, "authorization_details": details,
            "cnf": {"x5t#S256": b64(digest(&SHA256, CERTIFICATE))},
        });
        token_of(&self.access, "ES256", &header, &claims.to_string())
    }
}

fn request(method: &str, path: &str, token: &str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = path.parse().unwrap();
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    let peer = PeerCertificate(CERTIFICATE.into());
    request.extensions_mut().insert(peer);
    request
}

fn status(came: &Came) -> StatusCode {
    came.response.status()
}

#[test]
fn a_call_reaches_the_service_with_what_its_token_allows() {
    let rig = Rig::new();
    let token = rig.access_token("db:read db:write", json!([{"type": "urn:rows", "max": 5}]));
    let came = rig.call(request("POST", "/rows", &token));
    assert_eq!(came.response.body(), "served");
    let allowed = came.allowed.unwrap();
    assert_eq!(allowed.permission.as_str(), "db:write");
    assert_eq!(allowed.details, [json!({"type": "urn:rows", "max": 5})]);
    assert_eq!(allowed.token.spiffe_id.as_str(), "spiffe://f.test/web");
    let read = rig.call(request("GET", "/rows/7?x=1", &token));
    assert_eq!(status(&read), StatusCode::OK);
}

#[test]
fn a_call_that_is_not_allowed_never_reaches_the_service() {
    let rig = Rig::new();
    let token = rig.access_token("db:read db:old db:drop", json!([]));
    let write = rig.access_token("db:write", json!([{"type": "urn:rows", "max": "many"}]));
    let bare = rig.access_token("db:write", json!([]));
    for (what, request, expected) in [
        ("not carried", request("POST", "/rows", &token), "db:write"),
        (
            "unmapped",
            request("PUT", "/rows", &token),
            "covers this endpoint",
        ),
        (
            "two readings",
            request("GET", "/rows//7", &token),
            "covers this endpoint",
        ),
        ("past its sunset", request("GET", "/old", &token), "sunset"),
        (
            "wrong details",
            request("POST", "/rows", &write),
            "authorization_details",
        ),
        (
            "no details",
            request("POST", "/rows", &bare),
            "authorization_details",
        ),
    ] {
        let came = rig.call(request);
        assert_eq!(status(&came), StatusCode::FORBIDDEN, "{what}");
        assert!(came.allowed.is_none(), "{what}");
        let challenge = came.response.headers()["www-authenticate"]
            .to_str()
            .unwrap();
        assert!(
            challenge.starts_with("Bearer error=\"insufficient_scope\""),
            "{challenge}"
        );
        assert!(challenge.contains(expected), "{challenge}");
    }
}

#[test]
fn without_a_valid_token_of_ones_own_there_is_401() {
    let rig = Rig::new();
    let token = rig.access_token("db:read", json!([]));
    let mut stolen = request("GET", "/rows/7", &token);
    stolen.extensions_mut().clear();
    let mut twice = request("GET", "/rows/7", &token);
    twice
        .headers_mut()
        .append("authorization", "Bearer x".parse().unwrap());
    let mut none = request("GET", "/rows/7", &token);
    none.headers_mut().remove("authorization");
    let none = rig.call(none);
    assert_eq!(none.response.headers()["www-authenticate"], "Bearer");
    for came in [
        none,
        rig.call(stolen),
        rig.call(twice),
        rig.call(request("GET", "/rows/7", "x")),
    ] {
        assert_eq!(status(&came), StatusCode::UNAUTHORIZED);
        assert!(came.allowed.is_none());
    }
}

#[test]
fn high_risk_is_not_for_bearer_tokens() {
    let rig = Rig::new();
    let claims = json!({
        "sub": "spiffe://f.test/web", "aud": "db", "exp": NOW.0 + 300, "scope": "db:drop db:read",
    });
    let header = good_header("ES256").to_string();
    let bearer = token_of(&rig.svid, "ES256", &header, &claims.to_string());
    assert_eq!(
        status(&rig.call(request("GET", "/rows/7", &bearer))),
        StatusCode::OK
    );
    let drop = rig.call(request("DELETE", "/rows", &bearer));
    assert_eq!(status(&drop), StatusCode::UNAUTHORIZED);
    let bound = rig.access_token("db:drop", json!([]));
    assert_eq!(
        status(&rig.call(request("DELETE", "/rows", &bound))),
        StatusCode::OK
    );
}

#[test]
fn grpc_is_denied_in_its_own_words() {
    let rig = Rig::new();
    let grpc = |path: &str, token: &str| {
        let mut request = request("POST", path, token);
        let kind = "application/grpc+proto".parse().unwrap();
        request.headers_mut().insert("content-type", kind);
        rig.call(request)
    };
    let token = rig.access_token("db:read", json!([]));
    assert_eq!(grpc("/db.v1.Db/Get", &token).response.body(), "served");
    let denied = grpc("/db.v1.Db/Drop", &token);
    assert_eq!(status(&denied), StatusCode::OK);
    assert_eq!(denied.response.headers()["grpc-status"], "7");
    assert_eq!(
        grpc("/db.v1.Db/Get", "x").response.headers()["grpc-status"],
        "16"
    );
}

#[test]
fn a_revoked_token_never_reaches_the_service() {
    let mut rig = Rig::new();
    let token = rig.access_token("db:read", json!([]));
    let call = |rig: &Rig| rig.call(request("GET", "/rows/7", &token));
    assert_eq!(status(&call(&rig)), StatusCode::OK);
    let revocation = |what| Revocation {
        what,
        at: NOW,
        until: None,
        authority: "".into(),
        reason: "a test".into(),
    };
    let id = SpiffeId::parse("spiffe://f.test/web").unwrap();
    for what in [Revoked::Jti("j1".into()), Revoked::Id(id)] {
        rig.revoked = Some(Arc::new(Revocations::of(&RevocationList {
            trust_domain: td("f.test"),
            sequence: 1,
            issued_at: NOW,
            next_update: NOW,
            entries: vec![Arc::new(revocation(what))],
        })));
        let came = call(&rig);
        assert_eq!(status(&came), StatusCode::UNAUTHORIZED);
        assert!(came.allowed.is_none());
        let challenge = came.response.headers()["www-authenticate"]
            .to_str()
            .unwrap();
        assert!(challenge.contains("invalid_token"), "{challenge}");
    }
}
