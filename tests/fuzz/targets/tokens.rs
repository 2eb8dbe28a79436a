//! Tokens: what a workload or a stranger presents to a verifier.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Bundle, JwtAuthorityKey, Seconds, Timestamp, TrustDomain};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use verify::{Presenter, Proof, TokenIssuer, TokenTrust, bundle_format};

use super::{Target, judged};
use crate::corpus;

const NOW: Timestamp = Timestamp(1_795_507_200);
const LEEWAY: Seconds = Seconds(30);

const WORDS: &[&[u8]] = &[
    b"eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0",
    b".",
    b"..",
    b"=",
    b"e30",
    b"eyJhbGciOiJub25lIn0",
];

pub(crate) const JWT_SVID: Target = Target {
    name: "jwt_svid",
    reads: "JWT-SVIDs given to ValidateJWTSVID, /v1/check and the crate verify",
    seeds: tokens,
    words: WORDS,
    generate: None,
    run: |bytes| {
        let text = token_of(bytes);
        let bundles = std::sync::Arc::new(bundle());
        judged(verify::verify_jwt_svid(&text, "db", &bundles, NOW, LEEWAY))
    },
};

pub(crate) const SCOPED_TOKEN: Target = Target {
    name: "scoped_token",
    reads: "access tokens and scoped JWT-SVIDs given to /v1/check and the enforcement layer",
    seeds: tokens,
    words: WORDS,
    generate: None,
    run: |bytes| {
        let text = token_of(bytes);
        let bundle = std::sync::Arc::new(bundle());
        let issuer = issuer();
        let trust = TokenTrust {
            bundles: &bundle,
            issuer: &issuer,
        };
        let presenter = Presenter {
            certificate: Some(bytes),
            proof: None,
        };
        judged(verify::verify_scoped_token(
            &text, &presenter, "db", &trust, NOW, LEEWAY,
        ))
    },
};

pub(crate) const DPOP: Target = Target {
    name: "dpop",
    reads: "DPoP proofs that a caller sends beside a token bound to a key",
    seeds: || {
        let header = r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}"#;
        let claims = r#"{"jti":"a","htm":"GET","htu":"https://db/a","iat":1795507200,"ath":"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"}"#;
        vec![format!("{header}.{claims}.{}", "A".repeat(86)).into_bytes()]
    },
    words: &[
        b"\"jwk\":",
        b"\"kty\":\"RSA\"",
        b"\"n\":\"",
        b"\"e\":\"AQAB\"",
        b"\"crv\":\"Ed25519\"",
        b"\"iat\":",
    ],
    generate: None,
    run: |bytes| {
        let (bound, issuer) = bound_token();
        let jwt = token_of(bytes);
        let proof = Proof {
            jwt: &jwt,
            method: "GET",
            uri: "https://db/a",
        };
        let presenter = Presenter {
            certificate: None,
            proof: Some(proof),
        };
        let bundle = std::sync::Arc::new(bundle());
        let trust = TokenTrust {
            bundles: &bundle,
            issuer,
        };
        judged(verify::verify_scoped_token(
            bound, &presenter, "db", &trust, NOW, LEEWAY,
        ))
    },
};

/// The key of the proofs to begin with: an example of RFC 7517.
const PROOF_KEY: &str = r#"{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

/// A valid access token bound to [`PROOF_KEY`], and its issuer.
fn bound_token() -> &'static (String, TokenIssuer) {
    static MADE: OnceLock<(String, TokenIssuer)> = OnceLock::new();
    MADE.get_or_init(|| {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let spki = keys::spki::from_point(key.public_key().as_ref()).unwrap();
        let mut issuer = issuer();
        issuer.keys = vec![JwtAuthorityKey {
            key_id: "a1".into(),
            spki: spki.into(),
            expires_at: None,
            tainted: false,
        }];
        let thumbprint = ring::digest::digest(&ring::digest::SHA256, PROOF_KEY.as_bytes());
        let claims = serde_json::json!({
            "iss": issuer.issuer, "sub": "spiffe://f.test/web", "aud": "db", "client_id": "spiffe://f.test/web",
            "exp": NOW.0 + 300, "iat": NOW.0, "jti": "t", "scope": "a:b",
            "cnf": {"jkt": URL_SAFE_NO_PAD.encode(thumbprint)},
        });
        let header = r#"{"alg":"ES256","kid":"a1","typ":"at+jwt"}"#;
        let signed = [header, &claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = key.sign(&random, signed.as_bytes()).unwrap();
        (format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)), issuer)
    })
}

/// Text as it is, or, when it holds JSON, its parts in base64url, so that mutations
/// reach the claims.
fn token_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if !text.contains('{') {
        return text.into_owned();
    }
    let parts = text.split("}.").enumerate().map(|(nth, part)| match nth {
        0 | 1 => URL_SAFE_NO_PAD.encode(format!("{part}}}")),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// The tokens of the corpus, as they are and decoded.
fn tokens() -> Vec<Vec<u8>> {
    let index: serde_json::Value = serde_json::from_slice(&corpus::file("tokens.json")).unwrap();
    let cases = index["cases"].as_array().unwrap();
    let texts = cases.iter().filter_map(|case| case["token"].as_str());
    texts
        .flat_map(|text| {
            let decoded: Vec<String> = text
                .split('.')
                .map(|part| match URL_SAFE_NO_PAD.decode(part) {
                    Ok(bytes) if bytes.starts_with(b"{") => {
                        String::from_utf8_lossy(&bytes).into_owned()
                    }
                    _ => part.to_owned(),
                })
                .collect();
            [text.as_bytes().to_vec(), decoded.join(".").into_bytes()]
        })
        .collect()
}

fn bundle() -> Bundle {
    let trust_domain = TrustDomain::parse("f.test").unwrap();
    bundle_format::decode(&trust_domain, &corpus::file("tokens.bundle.json")).unwrap()
}

fn issuer() -> TokenIssuer {
    TokenIssuer {
        issuer: "https://f.test".to_owned(),
        trust_domain: TrustDomain::parse("f.test").unwrap(),
        keys: bundle().jwt_authorities,
    }
}
