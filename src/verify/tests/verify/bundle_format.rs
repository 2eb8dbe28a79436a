//! Trust Domain and Bundle section 4, X509-SVID section 6, JWT-SVID section 6.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::{Bundle, Seconds};
use keys::KeyType;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use verify::bundle_format::{self, FormatError, decode, encode, encode_jwt_keys};

use crate::kit::{Ca, JwtKey, bundle, td};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn full() -> Bundle {
    let (one, two) = (Ca::of("f.test"), Ca::of("f.test"));
    let mut bundle = bundle("f.test", &[&one.der, &two.der]);
    bundle.jwt_authorities = [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048]
        .into_iter()
        .map(|key_type| JwtKey::new(key_type).authority(key_type.name()))
        .collect();
    bundle.sequence = u64::MAX;
    bundle.refresh_hint = Some(Seconds(300));
    bundle
}

#[test]
fn what_is_written_is_read_back() {
    let bundle = full();
    let text = encode(&bundle);
    assert_eq!(decode(&td("f.test"), text.as_bytes()).unwrap(), bundle);
    let empty = Bundle::empty(td("f.test"));
    assert_eq!(
        decode(&td("f.test"), encode(&empty).as_bytes()).unwrap(),
        empty
    );
}

#[test]
fn elements_have_exactly_the_members_of_the_standard() {
    let bundle = full();
    let document = parsed(&encode(&bundle));
    let names = |value: &Value| {
        let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        names.sort_unstable();
        names
    };
    assert_eq!(
        names(&document),
        ["keys", "spiffe_refresh_hint", "spiffe_sequence"]
    );
    assert_eq!(document["spiffe_sequence"], json!(u64::MAX));
    let keys = document["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 5);
    for (key, authority) in keys.iter().zip(&bundle.x509_authorities) {
        assert_eq!(names(key), ["crv", "kty", "use", "x", "x5c", "y"]);
        assert_eq!(key["use"], "x509-svid");
        assert_eq!(key["x5c"], json!([STANDARD.encode(&authority.der)]));
    }
    assert_eq!(names(&keys[2]), ["crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(names(&keys[4]), ["e", "kid", "kty", "n", "use"]);
    assert_eq!(keys[4]["e"], "AQAB");
    assert!(keys[2..].iter().all(|key| key["use"] == "jwt-svid"));
}

#[test]
fn the_jwt_keys_alone_are_a_plain_key_set() {
    let document = parsed(&encode_jwt_keys(&full()));
    assert_eq!(document.as_object().unwrap().len(), 1);
    let keys = document["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 3);
    let plain = |key: &Value| key.get("use").is_none() && key["kid"].is_string();
    assert!(keys.iter().all(plain));
    let none = Bundle::empty(td("f.test"));
    assert_eq!(encode_jwt_keys(&none), r#"{"keys":[]}"#);
}

/// A good document with something done to it.
fn changed(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Bundle, FormatError> {
    let mut document = parsed(&encode(&full()));
    change(document.as_object_mut().unwrap());
    decode(&td("f.test"), document.to_string().as_bytes())
}

fn counts(bundle: &Bundle) -> (usize, usize) {
    (bundle.x509_authorities.len(), bundle.jwt_authorities.len())
}

#[test]
fn bad_elements_are_skipped_and_the_good_ones_load() {
    type Change = fn(&mut Value);
    let x509: [Change; 9] = [
        |key| drop(key.as_object_mut().unwrap().remove("use")),
        |key| key["use"] = json!("X509-SVID"),
        |key| key["use"] = json!("foo-svid"),
        |key| key["kty"] = json!("OKP"),
        |key| drop(key.as_object_mut().unwrap().remove("kty")),
        |key| drop(key.as_object_mut().unwrap().remove("x5c")),
        |key| key["x5c"] = json!([]),
        |key| key["x5c"] = json!(["!"]),
        |key| *key = json!("text"),
    ];
    for (i, change) in x509.into_iter().enumerate() {
        let bundle = changed(|document| change(&mut document["keys"][0])).unwrap();
        assert_eq!(counts(&bundle), (1, 3), "case {i}");
    }
    let jwt: [Change; 9] = [
        |key| key["use"] = json!("sig"),
        |key| key["use"] = json!("wit-svid"),
        |key| key["kty"] = json!("XYZ"),
        |key| key["crv"] = json!("P-224"),
        |key| key["x"] = json!("AA"),
        |key| key["y"] = key["x"].clone(),
        |key| key["kid"] = json!(""),
        |key| key["kid"] = json!(7),
        |key| drop(key.as_object_mut().unwrap().remove("kid")),
    ];
    for (i, change) in jwt.into_iter().enumerate() {
        let bundle = changed(|document| change(&mut document["keys"][2])).unwrap();
        assert_eq!(counts(&bundle), (2, 2), "case {i}");
    }
}

#[test]
fn of_several_certificates_the_first_counts() {
    let stranger = Ca::of("f.test");
    let bundle = changed(|document| {
        let more = json!(STANDARD.encode(&stranger.der));
        document["keys"][0]["x5c"]
            .as_array_mut()
            .unwrap()
            .push(more);
    })
    .unwrap();
    assert_eq!(counts(&bundle), (2, 3));
    assert!(
        bundle
            .x509_authorities
            .iter()
            .all(|a| a.der[..] != stranger.der[..])
    );
}

#[test]
fn repeated_elements_load_once() {
    let bundle = changed(|document| {
        let keys = document["keys"].as_array_mut().unwrap();
        keys.extend(keys.clone());
    })
    .unwrap();
    assert_eq!(counts(&bundle), (2, 3));
}

#[test]
fn weak_rsa_keys_do_not_load() {
    let bundle = changed(|document| {
        document["keys"][4]["n"] = json!("A".repeat(169) + "Q");
    })
    .unwrap();
    assert_eq!(counts(&bundle), (2, 2));
}

#[test]
fn no_keys_is_a_bundle_and_no_document_is_not() {
    let empty = decode(&td("f.test"), br#"{"keys":[]}"#).unwrap();
    assert_eq!(empty, Bundle::empty(td("f.test")));
    let unknown = br#"{"keys":[],"other":{"x":1}}"#;
    assert!(decode(&td("f.test"), unknown).is_ok());
    for bad in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":[]"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[],"spiffe_sequence":"1"}"#,
        r#"{"keys":[],"spiffe_sequence":1.5}"#,
        r#"{"keys":[],"spiffe_sequence":-1}"#,
        r#"{"keys":[],"spiffe_refresh_hint":"60"}"#,
    ] {
        let refused = decode(&td("f.test"), bad.as_bytes());
        assert!(matches!(refused, Err(FormatError::Shape(_))), "{bad}");
    }
    let big = vec![b' '; bundle_format::MAX_DOCUMENT_BYTES + 1];
    assert!(matches!(
        decode(&td("f.test"), &big),
        Err(FormatError::TooLarge(_))
    ));
}

#[test]
fn sequences_beyond_doubles_stay_exact() {
    for sequence in [(1_u64 << 53) + 1, 1 << 63, u64::MAX] {
        let document = format!(r#"{{"keys":[],"spiffe_sequence":{sequence}}}"#);
        let bundle = decode(&td("f.test"), document.as_bytes()).unwrap();
        assert_eq!(bundle.sequence, sequence);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&td("f.test"), &bytes);
    }
}
