//! Bundle documents: what a consumer must take from them.

use keys::{KeyType, MemorySigner, Signer as _};
use serde_json::{Value, json};

use crate::kit::{b64, ca_params};
use crate::{key, write_index};

/// The JWK members of an EC key of the corpus.
pub(crate) fn jwk(name: &str) -> Value {
    let pkcs8 = key(name, KeyType::EcP256);
    let signer = MemorySigner::from_pkcs8(&pkcs8).unwrap();
    let point = signer.public_key().spki_der()[27..].to_vec();
    json!({"kty": "EC", "crv": "P-256", "x": b64(&point[..32]), "y": b64(&point[32..])})
}

fn with(mut jwk: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

pub(crate) fn jwt_key(name: &str, kid: &str) -> Value {
    with(jwk(name), json!({"use": "jwt-svid", "kid": kid}))
}

fn certificate() -> Value {
    use base64::Engine as _;
    let pair = rcgen::KeyPair::try_from(&key("root", KeyType::Rsa2048)[..]).unwrap();
    let mut params = ca_params("f.test", "root");
    params.serial_number = Some(rcgen::SerialNumber::from(1));
    let der = params.self_signed(&pair).unwrap().der().to_vec();
    base64::engine::general_purpose::STANDARD.encode(der).into()
}

/// A name, the authorities of each kind when it is a bundle, why, and the document.
type Case = (&'static str, Option<(usize, usize)>, &'static str, String);

fn set(keys: &Value) -> String {
    json!({"keys": keys, "spiffe_sequence": 7}).to_string()
}

fn x509(x5c: &Value) -> Value {
    with(jwk("jwt"), json!({"use": "x509-svid", "x5c": x5c}))
}

fn of_jwt_keys() -> Vec<Case> {
    let good = x509(&json!([certificate()]));
    let jwt = jwt_key("jwt", "k1");
    let mut no_kty = jwt.clone();
    no_kty.as_object_mut().unwrap().remove("kty");
    vec![
        (
            "both",
            Some((1, 1)),
            "one authority of each kind",
            set(&json!([good, jwt])),
        ),
        (
            "empty",
            Some((0, 0)),
            "no keys: nothing is trusted",
            set(&json!([])),
        ),
        (
            "unknown-use",
            Some((0, 1)),
            "unknown uses are skipped",
            set(&json!([with(jwt.clone(), json!({"use": "wit-svid"})), jwt])),
        ),
        (
            "no-use",
            Some((0, 0)),
            "a key without use is skipped",
            set(&json!([with(jwk("jwt"), json!({"kid": "k1"}))])),
        ),
        (
            "no-kid",
            Some((0, 0)),
            "a JWT key without kid is skipped",
            set(&json!([with(jwk("jwt"), json!({"use": "jwt-svid"}))])),
        ),
        (
            "no-kty",
            Some((0, 1)),
            "a key without kty is skipped",
            set(&json!([no_kty, jwt])),
        ),
        (
            "unknown-kty",
            Some((0, 1)),
            "an unknown kty is skipped",
            set(&json!([{"kty": "AKP", "use": "jwt-svid", "kid": "k0"}, jwt])),
        ),
        (
            "shared-secret",
            Some((0, 0)),
            "a shared secret is no authority",
            set(&json!([{"kty": "oct", "k": "AAAA", "use": "jwt-svid", "kid": "k1"}])),
        ),
        (
            "off-curve",
            Some((0, 0)),
            "a point off its curve",
            set(&json!([with(jwt.clone(), json!({"x": b64([1; 32])}))])),
        ),
        (
            "other-alg",
            Some((0, 0)),
            "an algorithm that the key cannot have",
            set(&json!([with(jwt.clone(), json!({"alg": "ES512"}))])),
        ),
    ]
}

fn of_certificates() -> Vec<Case> {
    let certificate = certificate();
    let good = x509(&json!([certificate]));
    vec![
        (
            "no-x5c",
            Some((1, 0)),
            "an entry without x5c is skipped",
            set(&json!([
                with(jwk("jwt"), json!({"use": "x509-svid"})),
                good
            ])),
        ),
        (
            "empty-x5c",
            Some((1, 0)),
            "an empty x5c is skipped",
            set(&json!([x509(&json!([])), good])),
        ),
        (
            "two-in-x5c",
            Some((1, 0)),
            "of several the first counts",
            set(&json!([x509(&json!([certificate, "AAAA"]))])),
        ),
        (
            "bad-x5c",
            Some((0, 0)),
            "no certificate",
            set(&json!([x509(&json!(["AAAA"]))])),
        ),
    ]
}

fn unusable() -> Vec<Case> {
    let twice = r#"{"keys": [], "keys": []}"#.to_owned();
    vec![
        (
            "no-keys",
            None,
            "no keys member: keep the old bundle",
            json!({"spiffe_sequence": 7}).to_string(),
        ),
        (
            "keys-no-array",
            None,
            "keys is no array",
            json!({"keys": {}}).to_string(),
        ),
        ("keys-twice", None, "a member named twice", twice),
        (
            "sequence-text",
            None,
            "the sequence is no number",
            json!({"keys": [], "spiffe_sequence": "7"}).to_string(),
        ),
        (
            "sequence-fraction",
            None,
            "the sequence is no whole number",
            json!({"keys": [], "spiffe_sequence": 7.5}).to_string(),
        ),
        ("cut", None, "not JSON", "{\"keys\": [".to_owned()),
        ("array", None, "not an object", "[]".to_owned()),
    ]
}

pub(crate) fn write_all() {
    let cases = [of_jwt_keys(), of_certificates(), unusable()].concat();
    let cases: Vec<Value> = cases
        .into_iter()
        .map(|(name, keys, why, document)| {
            json!({
                "name": name, "accept": keys.is_some(), "why": why, "document": document,
                "x509_authorities": keys.map(|k| k.0), "jwt_authorities": keys.map(|k| k.1),
            })
        })
        .collect();
    write_index("bundles.json", &cases);
}
