//! JWT-SVID, the validator's duties: tokens of `f.test` through ValidateJWTSVID.

use std::fmt::Write as _;

use ring::hmac;
use serde_json::{Value, json};
use tonic::Code;

use crate::foreign::{AUDIENCE, Foreign, ID, JwtKey, NAME, b64, claims, header, now};
use crate::rows::rows;
use crate::world::{World, code};

struct Validator {
    world: World,
    foreign: Foreign,
}

impl Validator {
    #[track_caller]
    fn refused(&self, token: &str) {
        let refused = code(self.world.validate(token, AUDIENCE));
        assert_eq!(refused, Code::InvalidArgument, "{token}");
    }

    #[track_caller]
    fn refused_claims(&self, edit: impl FnOnce(&mut Value)) {
        self.refused(&self.foreign.ec.token(edit));
    }

    #[track_caller]
    fn accepted(&self, token: &str) {
        let valid = self.world.validate(token, AUDIENCE).unwrap();
        assert_eq!(valid.spiffe_id, ID);
    }

    /// A good token of another header.
    fn with_header(&self, algorithm: &str, header: &str) -> String {
        self.foreign
            .ec
            .token_of(algorithm, header, &claims().to_string())
    }
}

#[test]
fn the_validators_rows_of_jwt_svid() {
    let (world, foreign) = Foreign::federated();
    let validator = Validator { world, foreign };
    rows!(&validator;
        jwt_4_algorithms_are_those_nine_and_fit_the_key,
        jwt_8_9_the_audience_is_there_and_names_the_validator,
        jwt_12_13_tokens_end,
        jwt_20_what_jws_and_jwt_demand,
        wapi_13_bundles_are_those_of_the_caller,
        wapi_44_45_46_valid_tokens_are_answered_in_full,
        wapi_48_the_bundle_is_that_of_the_subject,
        jwt_18_19_keys_are_those_for_tokens,
    );
    rows!(&validator; jwt_1_5_serialisation_and_type);
}

fn jwt_1_5_serialisation_and_type(validator: &Validator) {
    let good = validator.foreign.ec.token(|_| ());
    let parts: Vec<&str> = good.split('.').collect();
    let flat = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]});
    validator.refused(&flat.to_string());
    let general = json!({"payload": parts[1], "signatures": [
        {"protected": parts[0], "signature": parts[2]}
    ]});
    validator.refused(&general.to_string());
    for kind in ["at+jwt", "wit+jwt", "jwt", "", "JWS"] {
        let header = json!({"alg": "ES256", "kid": "ec", "typ": kind}).to_string();
        validator.refused(&validator.with_header("ES256", &header));
    }
    let untyped = json!({"alg": "ES256", "kid": "ec"}).to_string();
    validator.accepted(&validator.with_header("ES256", &untyped));
    let jose = json!({"alg": "ES256", "kid": "ec", "typ": "JOSE"}).to_string();
    validator.accepted(&validator.with_header("ES256", &jose));
}

fn jwt_4_algorithms_are_those_nine_and_fit_the_key(validator: &Validator) {
    let foreign = &validator.foreign;
    for (key, key_id, algorithm) in [
        (&foreign.ec, "ec", "ES256"),
        (&foreign.ec384, "ec384", "ES384"),
        (&foreign.rsa, "rsa", "RS256"),
        (&foreign.rsa, "rsa", "RS384"),
        (&foreign.rsa, "rsa", "RS512"),
        (&foreign.rsa, "rsa", "PS256"),
        (&foreign.rsa, "rsa", "PS384"),
        (&foreign.rsa, "rsa", "PS512"),
    ] {
        let header = header(algorithm, key_id);
        validator.accepted(&key.token_of(algorithm, &header, &claims().to_string()));
    }
    for algorithm in [
        "none", "None", "", "HS256", "HS512", "EdDSA", "ES256K", "es256", "ES384", "ES512", "RS256",
    ] {
        let header = header(algorithm, "ec");
        validator.refused(&validator.with_header("ES256", &header));
    }
    validator.refused(&validator.with_header("ES256", r#"{"kid":"ec","typ":"JWT"}"#));
    validator.refused(&validator.with_header("ES256", r#"{"alg":["ES256"],"kid":"ec"}"#));
    // No signature at all.
    let unsigned = format!(
        "{}.{}.",
        b64(header("none", "ec")),
        b64(claims().to_string())
    );
    validator.refused(&unsigned);
    let emptied = validator.foreign.ec.token(|_| ());
    validator.refused(&format!("{}.", emptied.rsplit_once('.').unwrap().0));
    // The public key as a shared secret, in the forms a library may hold it.
    let spki = foreign.ec.public.spki_der();
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    writeln!(pem, "{}", crate::foreign::standard_base64(&spki.to_vec())).unwrap();
    pem.push_str("-----END PUBLIC KEY-----\n");
    for secret in [spki, pem.as_bytes()] {
        let signed = format!(
            "{}.{}",
            b64(header("HS256", "ec")),
            b64(claims().to_string())
        );
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret),
            signed.as_bytes(),
        );
        validator.refused(&format!("{signed}.{}", b64(tag)));
    }
}

fn jwt_8_9_the_audience_is_there_and_names_the_validator(validator: &Validator) {
    for bad in [
        json!([]),
        json!(""),
        json!(7),
        json!(null),
        json!([7]),
        json!({"a": 1}),
    ] {
        validator.refused_claims(|c| c["aud"] = bad);
    }
    validator.refused_claims(|c| drop(c.as_object_mut().unwrap().remove("aud")));
    for other in ["DB", "d", "db/", "db ", "web", "*"] {
        validator.refused_claims(|c| c["aud"] = json!([other]));
    }
    validator.accepted(&validator.foreign.ec.token(|c| c["aud"] = json!("db")));
    validator.accepted(
        &validator
            .foreign
            .ec
            .token(|c| c["aud"] = json!(["x", "db"])),
    );
}

fn jwt_12_13_tokens_end(validator: &Validator) {
    validator.refused_claims(|c| drop(c.as_object_mut().unwrap().remove("exp")));
    for bad in [json!(null), json!("9999999999"), json!([]), json!(-1)] {
        validator.refused_claims(|c| c["exp"] = bad);
    }
    validator.refused_claims(|c| c["exp"] = json!(now().0 - 600));
    validator.refused_claims(|c| c["exp"] = json!(now().0 - 60));
    validator.accepted(
        &validator
            .foreign
            .ec
            .token(|c| c["exp"] = json!(now().0 + 10_000_000)),
    );
}

fn jwt_18_19_keys_are_those_for_tokens(validator: &Validator) {
    let Validator { world, foreign } = validator;
    // The key of an X.509 authority signs a token: it is no JWT key.
    let pair = &foreign.root.pair;
    let signer = ring::signature::EcdsaKeyPair::from_pkcs8(
        &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &pair.serialize_der(),
        &crate::foreign::rng(),
    )
    .unwrap();
    for key_id in ["", "ec", "root"] {
        let signed = format!(
            "{}.{}",
            b64(header("ES256", key_id)),
            b64(claims().to_string())
        );
        let signature = signer
            .sign(&crate::foreign::rng(), signed.as_bytes())
            .unwrap();
        validator.refused(&format!("{signed}.{}", b64(signature)));
    }
    let good = foreign.ec.token(|_| ());
    validator.accepted(&good);
    let mut bundle = foreign.bundle(NAME);
    bundle.jwt_authorities.clear();
    bundle.sequence += 1;
    world.federate(&bundle);
    bulla_tests::eventually("tokens are no longer of that trust domain", || {
        world.validate(&good, AUDIENCE).err()
    });
    validator.refused(&good);
    bundle = foreign.bundle(NAME);
    bundle.sequence += 2;
    world.federate(&bundle);
    bulla_tests::eventually("they are again", || world.validate(&good, AUDIENCE).ok());
}

fn jwt_20_what_jws_and_jwt_demand(validator: &Validator) {
    let foreign = &validator.foreign;
    let good = foreign.ec.token(|_| ());
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let mut bytes = crate::foreign::from_b64(signature);
    bytes[7] ^= 1;
    validator.refused(&format!("{rest}.{}", b64(bytes)));
    validator.refused(&JwtKey::new(keys::KeyType::EcP256).token(|_| ()));
    for critical in [json!(["x"]), json!([]), json!(["exp"])] {
        let header = json!({"alg": "ES256", "kid": "ec", "typ": "JWT", "crit": critical, "x": 1});
        validator.refused(&validator.with_header("ES256", &header.to_string()));
    }
    validator.refused_claims(|c| c["nbf"] = json!(now().0 + 600));
    let twice = r#"{"alg":"none","alg":"ES256","kid":"ec","typ":"JWT"}"#;
    validator.refused(&validator.with_header("ES256", twice));
    let claims = claims().to_string();
    let twice = claims.replacen('{', r#"{"sub":"spiffe://f.test/other","#, 1);
    validator.refused(&foreign.ec.token_of("ES256", &header("ES256", "ec"), &twice));
    for odd in [
        format!("{good}="),
        format!("{good}\n"),
        format!(" {good}"),
        good.replace('.', ".."),
    ] {
        validator.refused(&odd);
    }
}

fn wapi_13_bundles_are_those_of_the_caller(validator: &Validator) {
    // Known to the agent for another workload; this one does not federate with it.
    let other = Foreign::new("g.test");
    let world = &validator.world;
    world.federate(&other.bundle("g.test"));
    let node = world.domain.id("/node");
    let id = world.domain.id("/other");
    let other_user = [
        "--selector",
        "unix:uid:4000000000",
        "--federates-with",
        "g.test",
    ];
    let mut args = vec!["entry", "create", "--spiffe-id", &id, "--parent-id", &node];
    args.extend(other_user);
    let _created = world.domain.admin(args).ok();
    let token = other.ec.token(|c| c["sub"] = "spiffe://g.test/web".into());
    validator.refused(&token);
    let pair = rcgen::KeyPair::generate().unwrap();
    let leaf = other
        .root
        .sign(&crate::foreign::leaf_params("spiffe://g.test/web"), &pair);
    assert_ne!(world.check_chain(&[leaf]), 200);
}

fn wapi_44_45_46_valid_tokens_are_answered_in_full(validator: &Validator) {
    let token = validator.foreign.ec.token(|_| ());
    let valid = validator.world.validate(&token, AUDIENCE).unwrap();
    assert_eq!(valid.spiffe_id, ID);
    let fields = valid.claims.unwrap().fields;
    use prost_types::value::Kind;
    assert_eq!(fields["sub"].kind, Some(Kind::StringValue(ID.to_owned())));
    assert!(matches!(&fields["aud"].kind, Some(Kind::ListValue(list)) if list.values.len() == 1));
    assert!(matches!(fields["exp"].kind, Some(Kind::NumberValue(_))));
}

fn wapi_48_the_bundle_is_that_of_the_subject(validator: &Validator) {
    // Another trust domain has a key of the same name.
    let world = &validator.world;
    let other = Foreign::new("h.test");
    world.federate(&other.bundle("h.test"));
    let ran = world
        .try_register("spiffe://example.org/h", &["--federates-with", "h.test"])
        .ok();
    world.await_bundle("spiffe://h.test", |der| der == other.root.der);
    let good = other.ec.token(|c| c["sub"] = "spiffe://h.test/web".into());
    assert!(world.validate(&good, AUDIENCE).is_ok());
    validator.refused(&other.ec.token(|_| ()));
    validator.refused_claims(|c| c["sub"] = "spiffe://h.test/web".into());
    world.delete(ran.json()["id"].as_str().unwrap());
}
