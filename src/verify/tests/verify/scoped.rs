//! Scoped tokens: profiles, bindings and proofs, one fault each.

use identity::{Seconds, TrustDomain};
use keys::KeyType;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use verify::{
    BundleSource, JwtFault, PossessionFault, Presenter, ScopedToken, TokenFault, TokenIssuer,
    TokenProfile, TokenTrust, verify_access_token, verify_jwt_svid, verify_scoped_token,
};

use crate::kit::{JwtKey, NOW, b64, good_claims, good_header, jwt_bundle, td, token_of};

const LEEWAY: Seconds = Seconds(10);
const CERTIFICATE: &[u8] = b"the caller's certificate";

/// An issuer, its access key, and a JWT key of the bundle.
pub(crate) struct World {
    access: JwtKey,
    svid: JwtKey,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            access: JwtKey::new(KeyType::EcP256),
            svid: JwtKey::new(KeyType::EcP256),
        }
    }

    pub(crate) fn issuer(&self, trust_domain: &str) -> TokenIssuer {
        TokenIssuer {
            issuer: "https://issuer.f.test".into(),
            trust_domain: td(trust_domain),
            keys: vec![self.access.authority("a1")],
        }
    }

    pub(crate) fn access_token(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"alg": "ES256", "kid": "a1", "typ": "at+jwt"});
        let mut claims = access_claims();
        change(&mut header, &mut claims);
        token_of(
            &self.access,
            "ES256",
            &header.to_string(),
            &claims.to_string(),
        )
    }

    pub(crate) fn check(
        &self,
        token: &str,
        presenter: &Presenter<'_>,
    ) -> Result<ScopedToken, TokenFault> {
        self.check_in("f.test", token, presenter)
    }

    pub(crate) fn check_in(
        &self,
        trust_domain: &str,
        token: &str,
        presenter: &Presenter<'_>,
    ) -> Result<ScopedToken, TokenFault> {
        let bundle = jwt_bundle(&self.svid);
        let trust = TokenTrust {
            bundles: &bundle as &dyn BundleSource,
            issuer: &self.issuer(trust_domain),
        };
        verify_scoped_token(token, presenter, "db", &trust, NOW, LEEWAY)
    }
}

fn access_claims() -> Value {
    json!({
        "iss": "https://issuer.f.test",
        "sub": "spiffe://f.test/web",
        "client_id": "spiffe://f.test/web",
        "aud": "db",
        "exp": NOW.0 + 300,
        "iat": NOW.0,
        "jti": "j1",
        "scope": "db:read db:write",
        "cnf": {"x5t#S256": b64(digest(&SHA256, CERTIFICATE))},
    })
}

pub(crate) const fn over_mtls() -> Presenter<'static> {
    Presenter {
        certificate: Some(CERTIFICATE),
        proof: None,
    }
}

fn jwt_fault(result: Result<ScopedToken, TokenFault>) -> JwtFault {
    match result {
        Err(TokenFault::Jwt(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn possession(result: Result<ScopedToken, TokenFault>) -> PossessionFault {
    match result {
        Err(TokenFault::Possession(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bound_access_token_allows_what_its_scope_names() {
    let world = World::new();
    let token = world.access_token(|_, claims| {
        claims["authorization_details"] = json!([
            {"type": "urn:rows", "max": 5},
            {"type": "urn:rows", "max": 9, "locations": ["other"]},
            {"type": "urn:rows", "max": 7, "locations": ["other", "db"]},
        ]);
    });
    let good = world.check(&token, &over_mtls()).unwrap();
    assert_eq!(good.profile, TokenProfile::AccessToken);
    let names: Vec<_> = good.permissions.iter().map(String::as_str).collect();
    assert_eq!(names, ["db:read", "db:write"]);
    assert_eq!(good.jti.as_deref(), Some("j1"));
    assert_eq!(good.authorization_details.len(), 2);
    let media_type = world.access_token(|header, _| header["typ"] = json!("application/AT+JWT"));
    assert!(world.check(&media_type, &over_mtls()).is_ok());
}

#[test]
fn neither_profile_passes_for_the_other() {
    let world = World::new();
    let access = world.access_token(|_, _| {});
    let bundle = jwt_bundle(&world.svid);
    let as_svid = verify_jwt_svid(&access, "db", &bundle, NOW, LEEWAY);
    assert!(matches!(as_svid, Err(JwtFault::Header(_))), "{as_svid:?}");
    let (header, claims) = (good_header("ES256").to_string(), good_claims().to_string());
    let svid = token_of(&world.svid, "ES256", &header, &claims);
    let as_access = verify_access_token(&svid, "db", &world.issuer("f.test"), NOW, LEEWAY);
    assert!(
        matches!(as_access, Err(JwtFault::Header(_))),
        "{as_access:?}"
    );
    // Relabelled, each fails for want of the other's keys.
    let relabelled = world.access_token(|header, _| header["typ"] = json!("JWT"));
    let fault = jwt_fault(world.check(&relabelled, &over_mtls()));
    assert!(matches!(fault, JwtFault::UnknownKey { .. }), "{fault:?}");
    let header = json!({"alg": "ES256", "kid": "a1", "typ": "at+jwt"}).to_string();
    let forged = token_of(&world.svid, "ES256", &header, &access_claims().to_string());
    assert_eq!(
        jwt_fault(world.check(&forged, &over_mtls())),
        JwtFault::Signature
    );
}

#[test]
fn every_claim_of_an_access_token_is_required() {
    let world = World::new();
    for name in ["iss", "sub", "client_id", "aud", "exp", "iat", "jti"] {
        let token = world.access_token(|_, claims| {
            claims.as_object_mut().unwrap().remove(name);
        });
        let fault = jwt_fault(world.check(&token, &over_mtls()));
        assert!(
            matches!(fault, JwtFault::Claim { name: n, .. } if n == name),
            "{fault:?}"
        );
    }
    type Change = fn(&mut Value);
    let wrong: [(&str, Change); 6] = [
        ("another issuer", |c| {
            c["iss"] = json!("https://issuer.f.test/")
        }),
        ("two audiences", |c| c["aud"] = json!(["db", "other"])),
        ("another audience", |c| c["aud"] = json!("other")),
        ("over", |c| c["exp"] = json!(NOW.0 - 10)),
        ("a foreign subject", |c| {
            c["sub"] = json!("spiffe://g.test/web")
        }),
        ("a scope that is no list", |c| {
            c["scope"] = json!("db:read  db:write")
        }),
    ];
    for (what, change) in wrong {
        let token = world.access_token(|_, claims| change(claims));
        assert!(world.check(&token, &over_mtls()).is_err(), "{what}");
    }
}

#[test]
fn a_token_is_worth_nothing_without_what_it_is_bound_to() {
    let world = World::new();
    let token = world.access_token(|_, _| {});
    let stolen = world.check(&token, &Presenter::default());
    assert_eq!(possession(stolen), PossessionFault::NoCertificate);
    let thief = Presenter {
        certificate: Some(b"the thief's certificate"),
        proof: None,
    };
    assert_eq!(
        possession(world.check(&token, &thief)),
        PossessionFault::WrongCertificate
    );
    let unbound = world.access_token(|_, claims| {
        claims.as_object_mut().unwrap().remove("cnf");
    });
    assert_eq!(
        possession(world.check(&unbound, &over_mtls())),
        PossessionFault::NotBound
    );
    let hash = b64(digest(&SHA256, CERTIFICATE));
    for cnf in [
        json!({}),
        json!({"x5t#S256": hash, "jkt": hash}),
        json!({"x5t#S256": "AQ"}),
        json!({"x5t#S256": [hash]}),
        json!({"jwk": {}}),
        json!("x"),
    ] {
        let token = world.access_token(|_, claims| claims["cnf"] = cnf.clone());
        let fault = possession(world.check(&token, &over_mtls()));
        assert_eq!(fault, PossessionFault::Malformed, "{cnf}");
    }
}

#[test]
fn a_foreign_trust_domain_cannot_write_itself_a_scope() {
    let world = World::new();
    let mut claims = good_claims();
    claims["scope"] = json!("db:read");
    claims["authorization_details"] = json!([{"type": "urn:rows"}]);
    let header = good_header("ES256").to_string();
    let token = token_of(&world.svid, "ES256", &header, &claims.to_string());
    let own = world.check(&token, &Presenter::default()).unwrap();
    assert_eq!(own.permissions.len(), 1);
    let foreign = world
        .check_in("home.test", &token, &Presenter::default())
        .unwrap();
    assert!(foreign.permissions.is_empty() && foreign.authorization_details.is_empty());
    assert_eq!(
        foreign.spiffe_id.trust_domain(),
        TrustDomain::parse("f.test").unwrap()
    );
}
