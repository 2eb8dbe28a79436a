//! Proof of possession by a key (DPoP, RFC 9449): what a proof counts for, and what it
//! does not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Seconds, Timestamp};
use keys::KeyType;
use proptest::prelude::*;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use verify::{PossessionFault, Presenter, Proof, ProofFault, ProofsSeen, Replayed};

use crate::kit::{JwtKey, NOW, b64, token_of};
use crate::scoped::{World, over_mtls, possession};

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
