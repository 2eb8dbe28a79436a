//! Wycheproof's vectors for JSON web signatures and keys, which `tests/run peers`
//! fetches at a pinned version: <https://github.com/C2SP/wycheproof>.

use std::path::Path;

use serde_json::{Map, Value};
use verify::{bundle_format, verify_jws};

use crate::kit::td;

const FILES: [(&str, usize); 3] = [
    ("json_web_signature_test.json", 401),
    ("json_web_crypto_test.json", 83),
    ("json_web_key_test.json", 26),
];

/// Valid vectors that no JWT-SVID may look like, and why.
const OUT_OF_POLICY: [(&str, &str); 2] = [
    ("ES512", "no P-521 in ring: refused as unsupported"),
    (
        "HS",
        "shared secrets are not among the nine algorithms of JWT-SVID",
    ),
];

/// Vectors of `json_web_signature_test.json` that are rightly signed, with another of the
/// RSA algorithms than the one that `alg` pins their key to. Keys of a SPIFFE bundle carry
/// no `alg` (SPIFFE Trust Domain and Bundle section 4.2): their type decides alone, and
/// these are accepted. The suite is of two minds itself: 346 and 350 are just so, and valid.
const PINNED_BY_ALG: [u64; 5] = [332, 334, 336, 338, 340];

fn read(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers/wycheproof");
    let text = std::fs::read_to_string(folder.join(name));
    let text = text.unwrap_or_else(|error| panic!("run `tests/run peers` first: {name}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// A group's keys as the keys of a trust domain: `use` says `sig` there and `jwt-svid`
/// here, or nothing there; what it says otherwise stays.
fn as_bundle(group: &Value) -> String {
    let keys = public_half(group);
    let keys = keys.get("keys").and_then(Value::as_array).cloned();
    let keys = keys.unwrap_or_else(|| vec![public_half(group).clone()]);
    let keys: Value = keys
        .into_iter()
        .map(|mut key| {
            let members: &mut Map<String, Value> = key.as_object_mut().unwrap();
            if members.get("use").is_none_or(|usage| usage == "sig") {
                members.insert("use".into(), "jwt-svid".into());
            }
            key
        })
        .collect();
    serde_json::json!({ "keys": keys }).to_string()
}

/// Groups of shared secrets have none: there it is all there is.
fn public_half(group: &Value) -> &Value {
    match &group["public"] {
        Value::Null => &group["private"],
        public => public,
    }
}

/// The text of a vector: compact, or a JSON serialisation.
fn text(vector: &Value) -> String {
    match (&vector["jws"], &vector["jwe"]) {
        (Value::String(text), _) | (Value::Null, Value::String(text)) => text.clone(),
        (Value::Null, json) | (json, _) => json.to_string(),
    }
}

/// Whether some key of the group verifies the vector.
fn is_accepted(group: &Value, token: &str) -> bool {
    let Ok(bundle) = bundle_format::decode(&td("f.test"), as_bundle(group).as_bytes()) else {
        return false;
    };
    let mut keys = bundle.jwt_authorities.iter();
    keys.any(|key| verify_jws(token, key).is_ok())
}

/// What a compact token says of its algorithm.
fn algorithm(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header);
    let header: Value = serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default();
    header["alg"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn invalid_vectors_are_refused_and_valid_ones_in_policy_accepted() {
    for (name, expected) in FILES {
        let mut otherwise = Vec::new();
        let (mut accepted, mut refused, mut out_of_policy) = (0, 0, 0);
        let file = read(name);
        for group in file["testGroups"].as_array().unwrap() {
            for vector in group["tests"].as_array().unwrap() {
                let token = &text(vector);
                let what = format!("{name} {}: {}", vector["tcId"], vector["comment"]);
                let is_accepted = is_accepted(group, token);
                // Nothing to verify, or with a shared secret; its header may be unreadable.
                let is_of_no_key = vector["jws"].is_null() || group["private"]["kty"] == "oct";
                let algorithm = algorithm(token);
                let mut out = OUT_OF_POLICY.iter();
                match vector["result"].as_str().unwrap() {
                    "invalid" if is_accepted => otherwise.push(vector["tcId"].as_u64().unwrap()),
                    "invalid" => refused += 1,
                    "valid" if is_of_no_key || out.any(|(a, _)| algorithm.starts_with(a)) => {
                        assert!(!is_accepted, "{what} is out of policy and accepted");
                        out_of_policy += 1;
                    }
                    "valid" => {
                        assert!(is_accepted, "{what} is refused");
                        accepted += 1;
                    }
                    other => panic!("{what} is {other}"),
                }
            }
        }
        let listed: &[u64] = match name {
            "json_web_signature_test.json" => &PINNED_BY_ALG,
            _ => &[],
        };
        assert_eq!(otherwise, listed, "{name}: invalid and accepted");
        println!(
            "{name}: {accepted} accepted, {refused} refused, {out_of_policy} out of policy, {} pinned",
            listed.len()
        );
        assert_eq!(
            accepted + refused + out_of_policy + listed.len(),
            expected,
            "{name}"
        );
        assert!(accepted > 0 && refused > 0, "{name}");
    }
}
