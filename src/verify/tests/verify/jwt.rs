//! JWT-SVID sections 2 to 4, one fault each.

use std::sync::Arc;

use identity::{Bundle, Seconds, TrustDomain};
use keys::KeyType;
use proptest::prelude::*;
use serde_json::{Value, json};
use verify::{BundleSource, JwtFault, VerifiedJwt, verify_jwt_svid};

use crate::kit::{
    Ca, JwtKey, NOW, b64, bundle, good_claims, good_header, jwt_bundle, td, token_of,
};

const LEEWAY: Seconds = Seconds(10);

fn check(token: &str, bundles: &dyn BundleSource) -> Result<VerifiedJwt, JwtFault> {
    verify_jwt_svid(token, "db", bundles, NOW, LEEWAY)
}

/// What a good ES256 token with changed header and claims comes to.
fn with(change: impl FnOnce(&mut Value, &mut Value)) -> Result<VerifiedJwt, JwtFault> {
    let key = JwtKey::new(KeyType::EcP256);
    let (mut header, mut claims) = (good_header("ES256"), good_claims());
    change(&mut header, &mut claims);
    let token = token_of(&key, "ES256", &header.to_string(), &claims.to_string());
    check(&token, &jwt_bundle(&key))
}

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().unwrap().remove(name);
}

#[test]
fn a_good_token_is_accepted_and_read() {
    let verified = with(|_, claims| claims["custom"] = json!({"a": [1, 2.5]})).unwrap();
    assert_eq!(verified.spiffe_id.as_str(), "spiffe://f.test/web");
    assert_eq!(verified.expires_at, NOW.plus(Seconds(300)));
    assert_eq!(verified.claims["custom"], json!({"a": [1, 2.5]}));
    assert!(with(|_, claims| claims["aud"] = json!("db")).is_ok());
    assert!(with(|_, claims| claims["aud"] = json!(["x", "db"])).is_ok());
    assert!(with(|header, _| remove(header, "typ")).is_ok());
    assert!(with(|header, _| header["typ"] = json!("JOSE")).is_ok());
    assert!(with(|header, _| header["x5t"] = json!("whatever")).is_ok());
}

#[test]
fn the_algorithms_ring_has_are_accepted_with_the_keys_they_belong_to() {
    let keys = [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048].map(JwtKey::new);
    let algorithms = |key_type| match key_type {
        KeyType::EcP256 => vec!["ES256"],
        KeyType::EcP384 => vec!["ES384"],
        _ => vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    };
    for key in &keys {
        for algorithm in algorithms(key.public.key_type()) {
            let claims = good_claims().to_string();
            let header = good_header(algorithm).to_string();
            let token = token_of(key, algorithm, &header, &claims);
            assert!(check(&token, &jwt_bundle(key)).is_ok(), "{algorithm}");
            // The same key id with another key: its type does not fit, or it did not sign.
            for other in keys.iter().filter(|o| o.public != key.public) {
                let refused = check(&token, &jwt_bundle(other));
                assert!(
                    matches!(refused, Err(JwtFault::Algorithm(_))),
                    "{algorithm}"
                );
            }
            let stranger = JwtKey::new(key.public.key_type());
            assert_eq!(
                check(&token, &jwt_bundle(&stranger)),
                Err(JwtFault::Signature)
            );
        }
    }
}

#[test]
fn other_algorithms_are_refused_before_anything_else() {
    for name in ["none", "HS256", "EdDSA", "ES256K", "es256", "RS1", ""] {
        let refused = with(|header, _| header["alg"] = json!(name));
        assert_eq!(refused, Err(JwtFault::Algorithm(name.into())), "{name}");
    }
    assert!(matches!(
        with(|h, _| remove(h, "alg")),
        Err(JwtFault::Header(_))
    ));
    assert!(matches!(
        with(|h, _| h["alg"] = json!(256)),
        Err(JwtFault::Header(_))
    ));
    // The public key used as a shared secret.
    let key = JwtKey::new(KeyType::EcP256);
    let mut header = good_header("ES256");
    header["alg"] = json!("HS256");
    let signed = format!(
        "{}.{}",
        b64(header.to_string()),
        b64(good_claims().to_string())
    );
    let mac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.public.spki_der());
    let mac = ring::hmac::sign(&mac, signed.as_bytes());
    let token = format!("{signed}.{}", b64(mac));
    assert!(matches!(
        check(&token, &jwt_bundle(&key)),
        Err(JwtFault::Algorithm(_))
    ));
}

#[test]
fn es512_is_refused_as_unsupported() {
    let document = serde_json::json!({"keys": [{
        "use": "jwt-svid", "kid": "k1", "kty": "EC", "crv": "P-521",
        // The base point of the curve: a good key as far as anyone can see.
        "x": "AMaFjga3BATpzZ4-y2YjlbRCnGSBOQU_tSH4KK9ga009uqFLXnfv51ko_h3BJ6L_qN4zSLPBhWpCm_l-fjHC5b1m",
        "y": "ARg5KWp4mjvABFyKX7QsfRvZmPVESVebRGgXr70XJz5mLJfucple9CZAxVC5AT-tB2E1PHCGonLCQIi-lHaf0WZQ",
    }]});
    let mut bundle =
        verify::bundle_format::decode(&td("f.test"), document.to_string().as_bytes()).unwrap();
    assert_eq!(
        bundle.jwt_authorities.len(),
        1,
        "passed through to who can use it"
    );
    let again = verify::bundle_format::encode(&bundle);
    let again = verify::bundle_format::decode(&td("f.test"), again.as_bytes()).unwrap();
    assert_eq!(again, bundle);
    bundle.sequence = 1;
    let signer = JwtKey::new(KeyType::EcP256);
    let header = good_header("ES512").to_string();
    let token = token_of(&signer, "ES256", &header, &good_claims().to_string());
    assert_eq!(check(&token, &Arc::new(bundle)), Err(JwtFault::Unsupported));
}

#[test]
fn headers_that_no_jwt_svid_has_are_refused() {
    for typ in ["at+jwt", "wit+jwt", "jwt", ""] {
        assert!(
            matches!(with(|h, _| h["typ"] = json!(typ)), Err(JwtFault::Header(_))),
            "{typ}"
        );
    }
    assert!(matches!(
        with(|h, _| h["crit"] = json!(["exp"])),
        Err(JwtFault::Header(_))
    ));
    assert!(matches!(
        with(|h, _| h["crit"] = json!([])),
        Err(JwtFault::Header(_))
    ));
    assert!(matches!(
        with(|h, _| remove(h, "kid")),
        Err(JwtFault::Header(_))
    ));
    assert!(matches!(
        with(|h, _| h["kid"] = json!("")),
        Err(JwtFault::Header(_))
    ));
    assert!(matches!(
        with(|h, _| h["kid"] = json!("k2")),
        Err(JwtFault::UnknownKey { .. })
    ));
}

#[test]
fn claims_that_are_required_are_required() {
    for name in ["sub", "aud", "exp"] {
        let missing = with(|_, claims| remove(claims, name));
        assert!(
            matches!(missing, Err(JwtFault::Claim { .. })),
            "{name}: {missing:?}"
        );
        for wrong in [json!(null), json!({}), json!(true)] {
            let refused = with(|_, claims| claims[name] = wrong.clone());
            assert!(
                matches!(refused, Err(JwtFault::Claim { .. })),
                "{name} {wrong}"
            );
        }
    }
    for aud in [json!([]), json!(""), json!(7), json!(["db", 7])] {
        let refused = with(|_, claims| claims["aud"] = aud.clone());
        assert!(matches!(refused, Err(JwtFault::Claim { .. })), "{aud}");
    }
    for exp in [json!("1795507500"), json!([1])] {
        let refused = with(|_, claims| claims["exp"] = exp.clone());
        assert!(matches!(refused, Err(JwtFault::Claim { .. })), "{exp}");
    }
}

#[test]
fn the_audience_is_compared_byte_by_byte() {
    for other in ["DB", "db/", "d", "db2", "spiffe://f.test/db"] {
        let refused = with(|_, claims| claims["aud"] = json!([other]));
        assert_eq!(refused, Err(JwtFault::Audience("db".into())), "{other}");
    }
    let key = JwtKey::new(KeyType::EcP256);
    let mut claims = good_claims();
    claims["aud"] = json!(["db", ""]);
    let header = good_header("ES256").to_string();
    let token = token_of(&key, "ES256", &header, &claims.to_string());
    let empty = verify_jwt_svid(&token, "", &jwt_bundle(&key), NOW, LEEWAY);
    assert!(
        matches!(empty, Err(JwtFault::Audience(_))),
        "no one is called nothing"
    );
}

#[test]
fn subjects_are_spiffe_ids_of_workloads() {
    for sub in [
        "https://f.test/x",
        "spiffe://f.test/",
        "spiffe://F.test/x",
        "",
    ] {
        let refused = with(|_, claims| claims["sub"] = json!(sub));
        assert!(matches!(refused, Err(JwtFault::Subject(_))), "{sub}");
    }
    let bare = with(|_, claims| claims["sub"] = json!("spiffe://f.test"));
    assert!(matches!(bare, Err(JwtFault::NoPath(_))));
}

#[test]
fn times_are_checked_with_leeway() {
    let exp =
        |offset: i64| with(move |_, claims| claims["exp"] = json!(NOW.0 + offset)).map(|_| ());
    assert_eq!(exp(-600), Err(JwtFault::Expired));
    assert_eq!(exp(-10), Err(JwtFault::Expired));
    assert_eq!(exp(-9), Ok(()));
    assert_eq!(exp(i64::MAX - NOW.0), Ok(()));
    let nbf =
        |offset: i64| with(move |_, claims| claims["nbf"] = json!(NOW.0 + offset)).map(|_| ());
    assert_eq!(nbf(11), Err(JwtFault::NotYetValid));
    assert_eq!(nbf(10), Ok(()));
    let fraction = with(|_, claims| claims["exp"] = json!(1_795_507_200.5)).unwrap();
    assert_eq!(fraction.expires_at, NOW);
    let nonsense = with(|_, claims| claims["nbf"] = json!("soon"));
    assert!(matches!(nonsense, Err(JwtFault::Claim { name: "nbf", .. })));
    assert_eq!(
        with(|_, c| c["exp"] = json!(-1e300)).map(|_| ()),
        Err(JwtFault::Expired)
    );
}

#[test]
fn only_the_bundle_of_its_own_trust_domain_verifies() {
    let key = JwtKey::new(KeyType::EcP256);
    let mut claims = good_claims();
    claims["sub"] = json!("spiffe://td.test/web");
    let header = good_header("ES256").to_string();
    let token = token_of(&key, "ES256", &header, &claims.to_string());
    let foreign = jwt_bundle(&key);
    let refused = check(&token, &foreign);
    assert_eq!(refused, Err(JwtFault::UnknownTrustDomain(td("td.test"))));
    let ours = Arc::new(Bundle::empty(td("td.test")));
    let both: std::collections::BTreeMap<TrustDomain, Arc<Bundle>> = [foreign, ours]
        .map(|bundle| (bundle.trust_domain.clone(), bundle))
        .into();
    assert!(matches!(
        check(&token, &both),
        Err(JwtFault::UnknownKey { .. })
    ));
}

#[test]
fn keys_of_x509_authorities_verify_no_token() {
    let ca = Ca::of("f.test");
    let key = JwtKey::new(KeyType::EcP256);
    let header = good_header("ES256").to_string();
    let token = token_of(&key, "ES256", &header, &good_claims().to_string());
    let refused = check(&token, &Arc::new(bundle("f.test", &[&ca.der])));
    assert!(matches!(refused, Err(JwtFault::UnknownKey { .. })));
}

#[test]
fn only_canonical_compact_form_is_read() {
    let key = JwtKey::new(KeyType::EcP256);
    let bundles = jwt_bundle(&key);
    let header = good_header("ES256").to_string();
    let good = token_of(&key, "ES256", &header, &good_claims().to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let [h, c, s] = parts[..] else { panic!() };
    let json_form = json!({"protected": h, "payload": c, "signature": s}).to_string();
    let general =
        json!({"payload": c, "signatures": [{"protected": h, "signature": s}]}).to_string();
    for bad in [
        json_form,
        general,
        format!("{h}.{c}."),
        format!("{h}.{c}"),
        format!("{good}.x"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{h}..{s}"),
        String::new(),
        "..".into(),
        "a".repeat(20_000),
    ] {
        let refused = check(&bad, &bundles);
        assert!(
            matches!(refused, Err(JwtFault::Encoding(_))),
            "{bad}: {refused:?}"
        );
    }
    // 64 bytes end in four spare bits: other texts decode to the same signature.
    let last = s.chars().last().unwrap();
    let spare = char::from(u8::try_from(u32::from(last)).unwrap() + 1);
    let twin = format!("{h}.{c}.{}{spare}", &s[..s.len() - 1]);
    assert!(check(&twin, &bundles).is_err());
}

#[test]
fn members_named_twice_are_refused() {
    let key = JwtKey::new(KeyType::EcP256);
    let bundles = jwt_bundle(&key);
    let (header, claims) = (good_header("ES256").to_string(), good_claims().to_string());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let token = |h: &str, c: &str| token_of(&key, "ES256", h, c);
    let alg = token(&twice(&header, r#""alg":"ES256""#), &claims);
    let sub = token(&header, &twice(&claims, r#""sub":"spiffe://f.test/admin""#));
    for bad in [alg, sub] {
        assert!(matches!(check(&bad, &bundles), Err(JwtFault::Encoding(_))));
    }
    assert!(check(&token(&header, &claims), &bundles).is_ok());
}

#[test]
fn every_flipped_character_is_refused() {
    let key = JwtKey::new(KeyType::EcP256);
    let bundles = jwt_bundle(&key);
    let header = good_header("ES256").to_string();
    let good = token_of(&key, "ES256", &header, &good_claims().to_string());
    for at in 0..good.len() {
        let mut bad = good.clone().into_bytes();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).unwrap();
        assert!(check(&bad, &bundles).is_err(), "character {at}");
    }
    assert!(check(&good, &bundles).is_ok());
}

#[test]
fn faults_never_show_the_token() {
    let key = JwtKey::new(KeyType::EcP256);
    let header = good_header("ES256").to_string();
    let token = token_of(&key, "ES256", &header, &good_claims().to_string());
    let stranger = jwt_bundle(&JwtKey::new(KeyType::EcP256));
    let said = format!("{0} {0:?}", check(&token, &stranger).unwrap_err());
    let signature = token.rsplit_once('.').unwrap().1;
    assert!(!said.contains(signature), "{said}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,100}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,40}", 3)) {
        let bundles = Arc::new(Bundle::empty(td("f.test")));
        let _ = check(&text, &bundles);
        let _ = check(&parts.join("."), &bundles);
    }
}
