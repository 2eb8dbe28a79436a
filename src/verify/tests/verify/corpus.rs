//! `tests/corpus`, case by case: its README says what the fields mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use identity::{Bundle, Seconds, SpiffeId, Timestamp};
use serde_json::Value;
use verify::{bundle_format, verify_jwt_svid, verify_x509_svid};

use crate::kit::{bundle, td};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// Runs every case of an index, and all of them before it fails.
#[track_caller]
fn each(index: &str, at_least: usize, is_accepted: impl Fn(&Value) -> bool) {
    let index: Value = serde_json::from_str(&read(index)).unwrap();
    let cases = index["cases"].as_array().unwrap();
    let of = |accept: bool| cases.iter().filter(|case| case["accept"] == accept).count();
    assert!(cases.len() >= at_least && of(true) > 0 && of(false) > 0);
    let wrong: Vec<&Value> = cases
        .iter()
        .filter(|case| is_accepted(case) != case["accept"].as_bool().unwrap())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn certificates(pem: &str) -> Vec<Vec<u8>> {
    pem.split("-----END CERTIFICATE-----")
        .filter_map(|part| part.split_once("-----BEGIN CERTIFICATE-----"))
        .map(|(_, body)| body.split_whitespace().collect::<String>())
        .map(|body| {
            base64::engine::general_purpose::STANDARD
                .decode(body)
                .unwrap()
        })
        .collect()
}

#[test]
fn ids_of_the_corpus() {
    each("ids.json", 60, |case| {
        SpiffeId::parse(case["id"].as_str().unwrap()).is_ok()
    });
}

#[test]
fn chains_of_the_corpus() {
    each("chains.json", 50, |case| {
        let file = |name: &str| certificates(&read(case[name].as_str().unwrap()));
        let (chain, roots) = (file("chain"), file("roots"));
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let roots: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
        let bundle = bundle(case["trust_domain"].as_str().unwrap(), &roots);
        verify_x509_svid(&chain, &bundle, Timestamp(case["now"].as_i64().unwrap())).is_ok()
    });
}

#[test]
fn tokens_of_the_corpus() {
    each("tokens.json", 45, |case| {
        let text = |name: &str| case[name].as_str().unwrap();
        let document = read(text("bundle"));
        let bundle: Arc<Bundle> =
            bundle_format::decode(&td(text("trust_domain")), document.as_bytes())
                .unwrap()
                .into();
        let now = Timestamp(case["now"].as_i64().unwrap());
        verify_jwt_svid(text("token"), text("audience"), &bundle, now, Seconds(60)).is_ok()
    });
}

#[test]
fn bundles_of_the_corpus() {
    each("bundles.json", 20, |case| {
        let document = case["document"].as_str().unwrap();
        let Ok(bundle) = bundle_format::decode(&td("f.test"), document.as_bytes()) else {
            return false;
        };
        let counts = [bundle.x509_authorities.len(), bundle.jwt_authorities.len()];
        assert_eq!(
            Value::from(counts.to_vec()),
            serde_json::json!([case["x509_authorities"], case["jwt_authorities"]]),
            "{}",
            case["name"]
        );
        true
    });
}
