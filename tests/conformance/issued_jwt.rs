//! JWT-SVID, the issuer's duties: every token that comes out of the product.

use std::collections::BTreeSet;

use bulla_tests::Settings;
use serde_json::Value;
use tonic::Code;

use crate::foreign::{from_b64, now};
use crate::rows::{NOTHING, rows};
use crate::world::{World, code};

fn decode(token: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token}");
    let json = |part: &str| serde_json::from_slice(&from_b64(part)).unwrap();
    (json(parts[0]), json(parts[1]))
}

fn fetch(world: &World, audience: &[&str]) -> (Value, Value) {
    decode(&world.jwt(audience, "").unwrap()[0].svid)
}

#[test]
fn the_issuers_rows_of_jwt_svid() {
    let world = World::start();
    world.domain.register("/service", []);
    world.domain.await_svid("/service");
    rows!(&world;
        jwt_1_2_5_tokens_are_compact_with_three_headers,
        jwt_6_7_11_claims_name_the_workload_its_audience_and_an_end,
        jwt_10_one_audience_is_the_rule,
        jwt_16_17_the_bundle_document_has_the_signing_keys,
    );
}

#[test]
fn the_issuers_rows_of_jwt_algorithms() {
    rows!(&NOTHING; jwt_3_every_configurable_key_type_is_an_allowed_algorithm);
}

fn jwt_1_2_5_tokens_are_compact_with_three_headers(world: &World) {
    let (header, _) = fetch(world, &["a"]);
    let names: BTreeSet<&str> = header
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names, BTreeSet::from(["alg", "kid", "typ"]));
    assert_eq!(header["typ"], "JWT");
}

fn jwt_3_every_configurable_key_type_is_an_allowed_algorithm((): &()) {
    for (key_type, algorithm) in [
        ("ec-p256", "ES256"),
        ("ec-p384", "ES384"),
        ("rsa-2048", "RS256"),
    ] {
        let world = World::with(Settings {
            server: format!("[jwt]\nkey_type = \"{key_type}\"\n"),
            ..Settings::default()
        });
        world.domain.register("/service", []);
        world.domain.await_svid("/service");
        assert_eq!(fetch(&world, &["a"]).0["alg"], algorithm);
        let token = world.jwt(&["a"], "").unwrap().remove(0);
        assert!(world.validate(&token.svid, "a").is_ok());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(
        &path,
        "trust_domain = \"a\"\n[jwt]\nkey_type = \"ed25519\"\n",
    )
    .unwrap();
    let mut command = bulla_tests::bulla();
    command.args(["server", "--config"]).arg(&path);
    let ran = bulla_tests::Ran::of(&mut command);
    assert!(ran.code != 0 && ran.err.contains("key_type"), "{}", ran.err);
}

fn jwt_6_7_11_claims_name_the_workload_its_audience_and_an_end(world: &World) {
    let token = world.jwt(&["b", "a"], "").unwrap().remove(0);
    let (_, claims) = decode(&token.svid);
    assert_eq!(claims["sub"], token.spiffe_id.as_str());
    assert_eq!(token.spiffe_id, world.domain.id("/service"));
    let mut audience: Vec<&str> = claims["aud"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect();
    audience.sort_unstable();
    assert_eq!(audience, ["a", "b"]);
    assert!(claims["exp"].as_i64().unwrap() > now().0);
    assert_eq!(code(world.jwt(&[], "")), Code::InvalidArgument);
}

fn jwt_10_one_audience_is_the_rule(world: &World) {
    // The agent caps the list; its documentation and command line take one.
    let many: Vec<String> = (0..33).map(|n| format!("audience-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(code(world.jwt(&many, "")), Code::InvalidArgument);
}

fn jwt_16_17_the_bundle_document_has_the_signing_keys(world: &World) {
    let (header, _) = fetch(world, &["a"]);
    let document = world.bundle_document();
    let keys: Vec<&Value> = document["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["use"] == "jwt-svid")
        .collect();
    let mut ids: Vec<&str> = keys
        .iter()
        .map(|key| key["kid"].as_str().unwrap())
        .collect();
    assert!(ids.iter().all(|id| !id.is_empty()));
    assert!(ids.contains(&header["kid"].as_str().unwrap()));
    let before = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), before, "a key id is there twice");
}
