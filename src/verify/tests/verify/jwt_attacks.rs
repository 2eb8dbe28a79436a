//! Every known way to make a verifier of tokens believe what it should not, in one
//! table. Each attack starts from a token that is accepted.

use base64::Engine as _;
use keys::KeyType;
use ring::hmac;
use serde_json::{Value, json};
use verify::verify_jwt_svid;

use crate::kit::{JwtKey, NOW, b64, good_claims, good_header, jwt_bundle, token_of};

/// The order of P-256.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

struct Attacks {
    key: JwtKey,
    attacker: JwtKey,
    all: Vec<(String, String)>,
}

impl Attacks {
    fn add(&mut self, name: &str, token: String) {
        self.all.push((name.to_owned(), token));
    }

    /// Signed by the right key, with this header.
    fn header(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut header = good_header("ES256");
        edit(&mut header);
        let claims = good_claims().to_string();
        let token = token_of(&self.key, "ES256", &header.to_string(), &claims);
        self.add(name, token);
    }

    /// Signed by the attacker, who offers a key.
    fn offered(&mut self, name: &str, member: &str, value: Value) {
        let mut header = good_header("ES256");
        header[member] = value;
        let claims = good_claims().to_string();
        let token = token_of(&self.attacker, "ES256", &header.to_string(), &claims);
        self.add(name, token);
    }

    /// Not signed by anybody.
    fn signed_with(&mut self, name: &str, algorithm: &str, signature: &[u8]) {
        let header = good_header(algorithm).to_string();
        let signed = format!("{}.{}", b64(header), b64(good_claims().to_string()));
        self.add(name, format!("{signed}.{}", b64(signature)));
    }

    fn jwk_of_attacker(&self) -> Value {
        let point = &self.attacker.public.spki_der()[27..];
        json!({"kty": "EC", "crv": "P-256", "kid": "k1", "x": b64(&point[..32]), "y": b64(&point[32..])})
    }
}

fn algorithms(attacks: &mut Attacks) {
    for name in [
        "none", "None", "NONE", "nOnE", "", "EdDSA", "ES256K", "HS256", "RS256", "dir",
    ] {
        attacks.header(&format!("alg {name:?}, well signed"), |h| {
            h["alg"] = json!(name)
        });
        attacks.signed_with(&format!("alg {name:?}, one byte"), name, &[0]);
        attacks.signed_with(&format!("alg {name:?}, unsigned"), name, &[]);
    }
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(attacks.key.public.spki_der())
    );
    let secrets = [
        ("DER", attacks.key.public.spki_der().to_vec()),
        ("PEM", pem.clone().into_bytes()),
        (
            "PEM without its last line end",
            pem.trim_end().as_bytes().to_vec(),
        ),
        ("point", attacks.key.public.spki_der()[26..].to_vec()),
        ("nothing", Vec::new()),
    ];
    for (form, secret) in secrets {
        for (name, algorithm) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            let header = good_header(name).to_string();
            let signed = format!("{}.{}", b64(header), b64(good_claims().to_string()));
            let mac = hmac::sign(&hmac::Key::new(algorithm, &secret), signed.as_bytes());
            attacks.add(
                &format!("{name} with the public key as {form}"),
                format!("{signed}.{}", b64(mac)),
            );
        }
    }
}

fn keys_that_the_token_brings(attacks: &mut Attacks) {
    let jwk = attacks.jwk_of_attacker();
    attacks.offered("embedded jwk", "jwk", jwk.clone());
    attacks.offered("embedded jwks", "jwks", json!({"keys": [jwk]}));
    attacks.offered("jku", "jku", json!("https://evil.test/jwks.json"));
    attacks.offered("x5u", "x5u", json!("https://evil.test/chain.pem"));
    attacks.offered(
        "x5c",
        "x5c",
        json!([b64(attacks.attacker.public.spki_der())]),
    );
    for kid in [
        json!("../../dev/null"),
        json!("k1' OR '1'='1"),
        json!("k1\0"),
        json!(" k1"),
        json!("K1"),
        json!("k1/"),
        json!("https://evil.test/k1"),
        json!(""),
        json!(null),
        json!(["k1"]),
        json!({"kid": "k1"}),
        json!(1),
    ] {
        attacks.offered(&format!("kid {kid}"), "kid", kid.clone());
        attacks.header(&format!("kid {kid}, well signed"), |h| h["kid"] = kid);
    }
}

fn headers(attacks: &mut Attacks) {
    attacks.header("crit", |h| h["crit"] = json!(["exp"]));
    attacks.header("crit of b64", |h| {
        h["crit"] = json!(["b64"]);
        h["b64"] = json!(false);
    });
    attacks.header("empty crit", |h| h["crit"] = json!([]));
    attacks.header("crit null", |h| h["crit"] = json!(null));
    attacks.header("typ of an access token", |h| h["typ"] = json!("at+jwt"));
    attacks.header("typ of a nested token", |h| h["typ"] = json!("JWE"));
    let claims = good_claims().to_string();
    // RFC 7797: the payload is signed as it is.
    let unencoded = json!({"alg": "ES256", "kid": "k1", "b64": false, "crit": ["b64"]}).to_string();
    let signature = attacks
        .key
        .sign("ES256", format!("{}.{claims}", b64(&unencoded)).as_bytes());
    attacks.add(
        "b64 false",
        format!("{}.{}.{}", b64(&unencoded), b64(&claims), b64(&signature)),
    );
}

fn contents(attacks: &mut Attacks) {
    let (header, claims) = (good_header("ES256").to_string(), good_claims().to_string());
    let key = &attacks.key;
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let more = [
        (
            "alg twice",
            token_of(key, "ES256", &twice(&header, r#""alg":"none""#), &claims),
        ),
        (
            "kid twice",
            token_of(key, "ES256", &twice(&header, r#""kid":"k2""#), &claims),
        ),
        (
            "sub twice",
            token_of(
                key,
                "ES256",
                &header,
                &twice(&claims, r#""sub":"spiffe://f.test/admin""#),
            ),
        ),
        (
            "exp twice",
            token_of(key, "ES256", &header, &twice(&claims, r#""exp":1"#)),
        ),
        (
            "escaped sub twice",
            token_of(
                key,
                "ES256",
                &header,
                &twice(&claims, r#""s\u0075b":"spiffe://f.test/a""#),
            ),
        ),
        ("header is an array", token_of(key, "ES256", "[]", &claims)),
        (
            "header after a byte order mark",
            token_of(key, "ES256", &format!("\u{feff}{header}"), &claims),
        ),
        (
            "header with more after it",
            token_of(key, "ES256", &format!("{header}{{}}"), &claims),
        ),
        (
            "claims are a string",
            token_of(key, "ES256", &header, "\"x\""),
        ),
        (
            "claims are no JSON",
            token_of(key, "ES256", &header, "sub=spiffe://f.test/web"),
        ),
    ];
    for (name, token) in more {
        attacks.add(name, token);
    }
}

/// A token in a token; compressed claims, which are no JSON.
fn wrappings(attacks: &mut Attacks) {
    let (header, claims) = (good_header("ES256").to_string(), good_claims().to_string());
    let inner = token_of(&attacks.key, "ES256", &header, &claims);
    let nested = json!({"alg": "ES256", "kid": "k1", "cty": "JWT"}).to_string();
    attacks.add("nested", token_of(&attacks.key, "ES256", &nested, &inner));
    let zip = json!({"alg": "ES256", "kid": "k1", "zip": "DEF"}).to_string();
    attacks.add("zip", token_of(&attacks.key, "ES256", &zip, "\u{1}\u{2}"));
    let jwe = json!({"alg": "dir", "enc": "A128GCM", "kid": "k1"}).to_string();
    attacks.add(
        "JWE",
        format!(
            "{}..{}.{}.{}",
            b64(jwe),
            b64([0; 12]),
            b64(&claims),
            b64([0; 16])
        ),
    );
}

fn forms(attacks: &mut Attacks, good: &str) {
    let [h, c, s] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}");
    };
    for (name, token) in [
        ("padding", format!("{good}=")),
        ("padded header", format!("{h}=.{c}.{s}")),
        ("space before", format!(" {good}")),
        ("line end after", format!("{good}\n")),
        ("space inside", format!("{h} .{c}.{s}")),
        ("line end inside", format!("{h}.{c}\n.{s}")),
        ("NUL after", format!("{good}\0")),
        ("quoted", format!("\"{good}\"")),
        ("bearer", format!("Bearer {good}")),
        (
            "standard alphabet",
            format!(
                "{h}.{c}.{}",
                base64::engine::general_purpose::STANDARD.encode([0xfb; 64])
            ),
        ),
        ("two parts", format!("{h}.{c}")),
        ("four parts", format!("{good}.{s}")),
        ("five parts", format!("{good}.{s}.{s}")),
        ("no signature", format!("{h}.{c}.")),
        ("no claims", format!("{h}..{s}")),
        ("no header", format!(".{c}.{s}")),
        ("detached", format!("{h}..{s}")),
        (
            "flattened JSON",
            json!({"protected": h, "payload": c, "signature": s}).to_string(),
        ),
        (
            "general JSON",
            json!({"payload": c, "signatures": [{"protected": h, "signature": s}]}).to_string(),
        ),
        ("JSON string", json!(good).to_string()),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
    ] {
        attacks.add(name, token);
    }
    // A character whose spare bits are dropped by lax decoders.
    let last = u8::try_from(s.chars().last().unwrap()).unwrap();
    for other in [last.wrapping_add(1), last.wrapping_add(2)] {
        let twin = format!("{h}.{c}.{}{}", &s[..s.len() - 1], char::from(other));
        attacks.add("spare bits", twin);
    }
}

fn signatures(attacks: &mut Attacks, good: &str) {
    let one = {
        let mut one = [0; 32];
        one[31] = 1;
        one
    };
    let below = {
        let mut below = N;
        below[31] -= 1;
        below
    };
    let above = {
        let mut above = N;
        above[31] += 1;
        above
    };
    let values = [
        ("0", [0; 32]),
        ("1", one),
        ("n-1", below),
        ("n", N),
        ("n+1", above),
        ("max", [0xff; 32]),
    ];
    for (r_name, r) in values {
        for (s_name, s) in values {
            let name = format!("r = {r_name}, s = {s_name}");
            attacks.signed_with(&name, "ES256", &[r, s].concat());
        }
    }
    let signature = good.rsplit('.').next().unwrap();
    let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(signature)
        .unwrap();
    let (r, s) = raw.split_at(32);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let integer = |digits: &[u8]| [&[2, 33, 0][..], digits].concat();
    let body = [integer(r), integer(s)].concat();
    for (name, bytes) in [
        ("DER", [&[0x30, 70][..], &body].concat()),
        ("r alone", r.to_vec()),
        ("a byte less", raw[..63].to_vec()),
        ("a byte more", [&raw[..], &[0]].concat()),
        ("a zero before", [&[0][..], &raw].concat()),
        ("each with a zero before", [&[0][..], r, &[0], s].concat()),
        ("twice", [&raw[..], &raw].concat()),
        ("swapped", [s, r].concat()),
        ("zeros of P-384", vec![0; 96]),
        ("one zero", vec![0]),
    ] {
        attacks.add(
            &format!("signature: {name}"),
            format!("{signed}.{}", b64(bytes)),
        );
    }
    let stranger = token_of(
        &attacks.attacker,
        "ES256",
        &good_header("ES256").to_string(),
        &good_claims().to_string(),
    );
    attacks.add("signed by somebody else", stranger);
    let mut claims = good_claims();
    claims["sub"] = json!("spiffe://f.test/admin");
    let (h, _) = signed.split_once('.').unwrap();
    attacks.add(
        "other claims",
        format!("{h}.{}.{signature}", b64(claims.to_string())),
    );
}

#[test]
fn no_known_attack_succeeds() {
    let (key, attacker) = (JwtKey::new(KeyType::EcP256), JwtKey::new(KeyType::EcP256));
    let bundle = jwt_bundle(&key);
    let check = |token: &str| verify_jwt_svid(token, "db", &bundle, NOW, identity::Seconds(10));
    let good = token_of(
        &key,
        "ES256",
        &good_header("ES256").to_string(),
        &good_claims().to_string(),
    );
    assert!(check(&good).is_ok(), "what the attacks start from");
    let mut attacks = Attacks {
        key,
        attacker,
        all: Vec::new(),
    };
    algorithms(&mut attacks);
    keys_that_the_token_brings(&mut attacks);
    headers(&mut attacks);
    contents(&mut attacks);
    wrappings(&mut attacks);
    forms(&mut attacks, &good);
    signatures(&mut attacks, &good);
    let succeeded: Vec<&str> = attacks
        .all
        .iter()
        .filter(|(_, token)| check(token).is_ok())
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(succeeded.is_empty(), "{succeeded:?}");
    assert!(attacks.all.len() > 150, "{}", attacks.all.len());
}
