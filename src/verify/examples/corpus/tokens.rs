//! JWT-SVIDs of one trust domain. Signatures by ECDSA come out different each time.

use keys::{KeyType, MemorySigner, Signer as _};
use serde_json::{Value, json};

use crate::bundles::jwt_key;
use crate::kit::{JwtKey, NOW, b64, good_claims, good_header, token_of};
use crate::{key, write, write_index};

const BUNDLE: &str = "tokens.bundle.json";

fn jwt_key_of(name: &str) -> JwtKey {
    let pkcs8 = key(name, KeyType::EcP256);
    let public = MemorySigner::from_pkcs8(&pkcs8)
        .unwrap()
        .public_key()
        .clone();
    JwtKey { pkcs8, public }
}

type Edit = fn(&mut Value, &mut Value);

/// A good token with one thing changed in its header or claims.
const EDITED: [(&str, bool, &str, Edit); 38] = [
    ("good", true, "as it should be", |_, _| ()),
    ("aud-text", true, "one audience as a string", |_, c| {
        c["aud"] = json!("db")
    }),
    ("aud-two", true, "one of two audiences", |_, c| {
        c["aud"] = json!(["web", "db"])
    }),
    ("no-typ", true, "typ may be absent", |h, _| {
        h.as_object_mut().unwrap().remove("typ");
    }),
    ("typ-jose", true, "typ JOSE", |h, _| {
        h["typ"] = json!("JOSE")
    }),
    ("more-claims", true, "claims of one's own", |_, c| {
        c["x"] = json!({"y": [1]})
    }),
    ("no-iat", true, "iat may be absent", |_, c| {
        c.as_object_mut().unwrap().remove("iat");
    }),
    ("typ-other", false, "another typ", |h, _| {
        h["typ"] = json!("at+jwt")
    }),
    ("typ-case", false, "typ in lower case", |h, _| {
        h["typ"] = json!("jwt")
    }),
    ("alg-none", false, "alg none", |h, _| {
        h["alg"] = json!("none")
    }),
    ("alg-hs256", false, "a shared secret's algorithm", |h, _| {
        h["alg"] = json!("HS256")
    }),
    ("alg-eddsa", false, "not one of the nine", |h, _| {
        h["alg"] = json!("EdDSA")
    }),
    ("alg-case", false, "alg in lower case", |h, _| {
        h["alg"] = json!("es256")
    }),
    ("alg-rsa", false, "not the key's", |h, _| {
        h["alg"] = json!("RS256")
    }),
    ("alg-384", false, "not the key's curve", |h, _| {
        h["alg"] = json!("ES384")
    }),
    ("no-alg", false, "no alg", |h, _| {
        h.as_object_mut().unwrap().remove("alg");
    }),
    ("kid-unknown", false, "no such key", |h, _| {
        h["kid"] = json!("k9")
    }),
    ("kid-path", false, "no such key", |h, _| {
        h["kid"] = json!("../k1")
    }),
    (
        "crit",
        false,
        "a critical extension nobody knows",
        |h, _| h["crit"] = json!(["exp"]),
    ),
    ("no-sub", false, "no sub", |_, c| {
        c.as_object_mut().unwrap().remove("sub");
    }),
    ("no-aud", false, "no aud", |_, c| {
        c.as_object_mut().unwrap().remove("aud");
    }),
    ("no-exp", false, "no exp", |_, c| {
        c.as_object_mut().unwrap().remove("exp");
    }),
    ("aud-empty", false, "no audience in aud", |_, c| {
        c["aud"] = json!([])
    }),
    ("aud-other", false, "for somebody else", |_, c| {
        c["aud"] = json!(["web"])
    }),
    (
        "aud-case",
        false,
        "audiences are compared as they are",
        |_, c| c["aud"] = json!(["DB"]),
    ),
    (
        "aud-prefix",
        false,
        "audiences are compared whole",
        |_, c| c["aud"] = json!(["db2"]),
    ),
    (
        "aud-number",
        false,
        "an audience that is no string",
        |_, c| c["aud"] = json!(["db", 1]),
    ),
    ("sub-url", false, "sub is no SPIFFE ID", |_, c| {
        c["sub"] = json!("https://f.test/web")
    }),
    ("sub-slash", false, "a trailing slash", |_, c| {
        c["sub"] = json!("spiffe://f.test/web/")
    }),
    ("sub-case", false, "a trust domain in upper case", |_, c| {
        c["sub"] = json!("spiffe://F.test/web")
    }),
    ("sub-other", false, "of another trust domain", |_, c| {
        c["sub"] = json!("spiffe://g.test/web")
    }),
    ("sub-list", false, "sub is a list", |_, c| {
        c["sub"] = json!(["spiffe://f.test/web"])
    }),
    ("expired", false, "past exp by an hour", |_, c| {
        c["exp"] = json!(NOW.0 - 3600)
    }),
    ("exp-text", false, "exp is a string", |_, c| {
        c["exp"] = json!((NOW.0 + 300).to_string())
    }),
    ("nbf", false, "before nbf by an hour", |_, c| {
        c["nbf"] = json!(NOW.0 + 3600)
    }),
    ("nbf-past", true, "after nbf", |_, c| {
        c["nbf"] = json!(NOW.0 - 1)
    }),
    ("nbf-text", false, "nbf is no number", |_, c| {
        c["nbf"] = json!("now")
    }),
    ("exp-null", false, "exp is null", |_, c| {
        c["exp"] = json!(null)
    }),
];

pub(crate) fn write_all() {
    let bundle = json!({"keys": [jwt_key("jwt", "k1")]});
    write(BUNDLE, &format!("{bundle}\n"));
    let (key, stranger) = (jwt_key_of("jwt"), jwt_key_of("other-jwt"));
    let mut cases = Vec::new();
    let mut add = |name: &str, accept: bool, why: &str, token: &str| {
        cases.push(json!({
            "name": name, "accept": accept, "why": why, "token": token, "audience": "db",
            "now": NOW.0, "trust_domain": "f.test", "bundle": BUNDLE,
        }));
    };
    for (name, accept, why, edit) in EDITED {
        let (mut header, mut claims) = (good_header("ES256"), good_claims());
        edit(&mut header, &mut claims);
        let token = token_of(&key, "ES256", &header.to_string(), &claims.to_string());
        add(name, accept, why, &token);
    }
    let (header, claims) = (good_header("ES256").to_string(), good_claims().to_string());
    let good = token_of(&key, "ES256", &header, &claims);
    let [h, c, s] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}");
    };
    let twice = claims.replacen('{', "{\"sub\":\"spiffe://f.test/admin\",", 1);
    let flattened = json!({"protected": h, "payload": c, "signature": s}).to_string();
    for (name, why, token) in [
        (
            "stranger",
            "signed by somebody else",
            token_of(&stranger, "ES256", &header, &claims),
        ),
        (
            "sub-twice",
            "a member named twice",
            token_of(&key, "ES256", &header, &twice),
        ),
        ("unsigned", "no signature", format!("{h}.{c}.")),
        ("two-parts", "not three parts", format!("{h}.{c}")),
        ("padded", "base64 padding", format!("{good}=")),
        ("line-end", "more than a token", format!("{good}\n")),
        ("flattened", "JSON serialisation", flattened),
        (
            "zero",
            "r and s are zero",
            format!("{h}.{c}.{}", b64([0; 64])),
        ),
    ] {
        add(name, false, why, &token);
    }
    write_index("tokens.json", &cases);
}
