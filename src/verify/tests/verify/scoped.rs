//! Scoped tokens: profiles, bindings and proofs, one fault each.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Seconds, Timestamp, TrustDomain};
use keys::KeyType;
use proptest::prelude::*;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use verify::{
    BundleSource, JwtFault, PossessionFault, Presenter, Proof, ProofFault, ProofsSeen, Replayed,
    ScopedToken, TokenFault, TokenIssuer, TokenProfile, TokenTrust, verify_access_token,
    verify_jwt_svid, verify_scoped_token,
};

use crate::kit::{JwtKey, NOW, b64, good_claims, good_header, jwt_bundle, td, token_of};

const LEEWAY: Seconds = Seconds(10);
const CERTIFICATE: &[u8] = b"the caller's certificate";

/// An issuer, its access key, and a JWT key of the bundle.
struct World {
    access: JwtKey,
    svid: JwtKey,
}

impl World {
    fn new() -> Self {
        Self {
            access: JwtKey::new(KeyType::EcP256),
            svid: JwtKey::new(KeyType::EcP256),
        }
    }

    fn issuer(&self, trust_domain: &str) -> TokenIssuer {
        TokenIssuer {
            issuer: "https://issuer.f.test".into(),
            trust_domain: td(trust_domain),
            keys: vec![self.access.authority("a1")],
        }
    }

    fn access_token(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
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

    fn check(&self, token: &str, presenter: &Presenter<'_>) -> Result<ScopedToken, TokenFault> {
        self.check_in("f.test", token, presenter)
    }

    fn check_in(
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

const fn over_mtls() -> Presenter<'static> {
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

fn possession(result: Result<ScopedToken, TokenFault>) -> PossessionFault {
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

/// A caller with a key of its own (RFC 9449).
struct Dpop {
    key: JwtKey,
    jwk: Value,
}

impl Dpop {
    fn new() -> Self {
        let key = JwtKey::new(KeyType::EcP256);
        let point = &key.public.spki_der()[27..];
        let (x, y) = point.split_at(32);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)});
        Self { key, jwk }
    }

    fn thumbprint(&self) -> String {
        let (x, y) = (&self.jwk["x"], &self.jwk["y"]);
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{x},"y":{y}}}"#);
        b64(digest(&SHA256, text.as_bytes()))
    }

    fn proof(&self, token: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk});
        let mut claims = json!({
            "jti": "p1", "htm": "POST", "htu": "https://DB.test:443/rows",
            "iat": NOW.0, "ath": b64(digest(&SHA256, token.as_bytes())),
        });
        change(&mut header, &mut claims);
        token_of(&self.key, "ES256", &header.to_string(), &claims.to_string())
    }
}

fn with_proof(jwt: &str) -> Presenter<'_> {
    Presenter {
        certificate: None,
        proof: Some(Proof {
            jwt,
            method: "POST",
            uri: "https://db.test/rows?all=1",
        }),
    }
}

#[test]
fn a_proof_counts_for_one_request_of_one_token_once() {
    let (world, caller) = (World::new(), Dpop::new());
    let token = world.access_token(|_, claims| claims["cnf"] = json!({"jkt": caller.thumbprint()}));
    let jwt = caller.proof(&token, |_, _| {});
    let accepted = world.check(&token, &with_proof(&jwt)).unwrap();
    let mut seen = ProofsSeen::default();
    let proof = accepted.proof.unwrap();
    assert_eq!(seen.accept(proof, NOW), Ok(()));
    assert_eq!(
        seen.accept(proof, NOW.plus(Seconds(69))),
        Err(Replayed::Used)
    );
    let none = world.check(&token, &over_mtls());
    assert_eq!(possession(none), PossessionFault::NoProof);
    // Somebody else's key, although the proof itself is good.
    let thief = Dpop::new().proof(&token, |_, _| {});
    let stolen = possession(world.check(&token, &with_proof(&thief)));
    assert_eq!(stolen, PossessionFault::Proof(ProofFault::OtherKey));
}

#[test]
fn e4_every_announced_algorithm_is_accepted_and_ed25519_is_one() {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let x = b64(key.public_key().as_ref());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let text = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    let jkt = b64(digest(&SHA256, text.as_bytes()));
    let world = World::new();
    let token = world.access_token(|_, claims| claims["cnf"] = json!({"jkt": jkt}));
    let proof = |alg: &str, jwk: &Value| {
        let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk});
        let claims = json!({
            "jti": "p1", "htm": "POST", "htu": "https://db.test/rows",
            "iat": NOW.0, "ath": b64(digest(&SHA256, token.as_bytes())),
        });
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = b64(key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    };
    for alg in ["EdDSA", "Ed25519"] {
        assert!(verify::PROOF_ALGORITHMS.contains(&alg));
        world.check(&token, &with_proof(&proof(alg, &jwk))).unwrap();
    }
    // The key decides: no other algorithm, no other curve, no torn signature.
    for (alg, crv) in [
        ("ES256", "Ed25519"),
        ("EdDSA", "Ed448"),
        ("EdDSA", "X25519"),
    ] {
        let other = json!({"kty": "OKP", "crv": crv, "x": x});
        let refused = world.check(&token, &with_proof(&proof(alg, &other)));
        assert!(matches!(possession(refused), PossessionFault::Proof(_)));
    }
    let mut torn = proof("EdDSA", &jwk);
    torn.replace_range(torn.len() - 6.., "AAAAAA");
    assert!(world.check(&token, &with_proof(&torn)).is_err());
    assert!(verify::PROOF_ALGORITHMS.contains(&"PS256"));
}

#[test]
fn when_too_many_proofs_are_fresh_none_is_taken_twice_and_room_comes_with_time() {
    let mut seen = ProofsSeen::bounded(2);
    let proof = |id: u8, until: i64| verify::ProofId {
        id: [id; 32],
        until: Timestamp(until),
    };
    assert_eq!(seen.accept(proof(1, 50), Timestamp(0)), Ok(()));
    assert_eq!(seen.accept(proof(2, 20), Timestamp(0)), Ok(()));
    assert_eq!(
        seen.accept(proof(3, 60), Timestamp(19)),
        Err(Replayed::Full)
    );
    assert_eq!(
        seen.accept(proof(1, 50), Timestamp(20)),
        Err(Replayed::Used)
    );
    assert_eq!(seen.accept(proof(3, 60), Timestamp(20)), Ok(()));
    assert!(!seen.is_idle(Timestamp(59)) && seen.is_idle(Timestamp(60)));
}

#[test]
fn two_texts_that_are_no_uris_are_not_the_same_request() {
    let (world, caller) = (World::new(), Dpop::new());
    let token = world.access_token(|_, claims| claims["cnf"] = json!({"jkt": caller.thumbprint()}));
    let jwt = caller.proof(&token, |_, claims| claims["htu"] = json!("/anything"));
    let presenter = Presenter {
        certificate: None,
        proof: Some(Proof {
            jwt: &jwt,
            method: "POST",
            uri: "/rows",
        }),
    };
    let fault = possession(world.check(&token, &presenter));
    assert_eq!(
        fault,
        PossessionFault::Proof(ProofFault::OtherRequest("URI"))
    );
}

#[test]
fn a_proof_for_anything_else_is_refused() {
    let (world, caller) = (World::new(), Dpop::new());
    let token = world.access_token(|_, claims| claims["cnf"] = json!({"jkt": caller.thumbprint()}));
    type Change = fn(&mut Value, &mut Value);
    let wrong: [(&str, Change); 13] = [
        ("typ", |h, _| h["typ"] = json!("JWT")),
        ("alg", |h, _| h["alg"] = json!("none")),
        ("private key", |h, _| h["jwk"]["d"] = json!("AQ")),
        ("no key", |h, _| h["jwk"] = json!({"kty": "oct", "k": "AQ"})),
        ("crit", |h, _| h["crit"] = json!(["x"])),
        ("method", |_, c| c["htm"] = json!("GET")),
        ("path", |_, c| c["htu"] = json!("https://db.test/rows/1")),
        ("host", |_, c| c["htu"] = json!("https://db.test.evil/rows")),
        ("scheme", |_, c| c["htu"] = json!("http://db.test/rows")),
        ("token", |_, c| {
            c["ath"] = json!(b64(digest(&SHA256, b"other")))
        }),
        ("old", |_, c| c["iat"] = json!(NOW.0 - 70)),
        ("future", |_, c| c["iat"] = json!(NOW.0 + 11)),
        ("no id", |_, c| c["jti"] = json!("")),
    ];
    for (what, change) in wrong {
        let jwt = caller.proof(&token, change);
        let result = world.check(&token, &with_proof(&jwt));
        assert!(
            matches!(possession(result), PossessionFault::Proof(_)),
            "{what}"
        );
    }
    let mut jwt = caller.proof(&token, |_, _| {});
    jwt.replace_range(jwt.len() - 4.., "AAAA");
    assert!(world.check(&token, &with_proof(&jwt)).is_err());
}

proptest! {
    #[test]
    fn no_token_and_no_proof_makes_it_panic(
        header in "\\PC{0,40}", claims in "\\PC{0,40}", signature in proptest::collection::vec(any::<u8>(), 0..70),
    ) {
        let jws = format!("{}.{}.{}", b64(header), b64(claims), URL_SAFE_NO_PAD.encode(signature));
        let (world, caller) = (World::new(), Dpop::new());
        prop_assert!(world.check(&jws, &over_mtls()).is_err());
        let bound = world.access_token(|_, c| c["cnf"] = json!({"jkt": caller.thumbprint()}));
        prop_assert!(world.check(&bound, &with_proof(&jws)).is_err());
    }
}
