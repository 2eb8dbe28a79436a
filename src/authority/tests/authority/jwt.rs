//! Tokens by hand equal jsonwebtoken's, and nothing else may be in them.

use std::sync::Once;

use authority::{
    FinishError, IssueError, JwtAuthority, JwtRefused, MAX_AUDIENCES, ReceiptMismatch,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{JwtSvid, Seconds, Timestamp};
use journal::{Binding, Receipt};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, signature};
use keys::{KeyType, SignError, spki};
use proptest::prelude::*;
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};

use crate::kit::{DAY, HOUR, NOW, Remote, id, jti, signer};

/// ring behind jsonwebtoken. An encoding key is the name of a kit signer, not a key.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        let name = std::str::from_utf8(key.as_bytes()).unwrap();
        let key_type = name.parse().unwrap();
        Ok(Box::new(KitSigner(*algorithm, key_type)) as Box<dyn JwtSigner>)
    },
    verifier_factory: |algorithm, key| {
        let key = key.try_get_as_bytes()?.to_vec();
        Ok(Box::new(RingVerifier(*algorithm, key)) as Box<dyn JwtVerifier>)
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct KitSigner(Algorithm, KeyType);

impl signature::Signer<Vec<u8>> for KitSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        // The fixed-size form, made by another route than the authority's: by way
        // of what any verifier accepts, see `RingVerifier`.
        let der = signer(self.1).sign(message).unwrap();
        Ok(if self.1.is_rsa() {
            der
        } else {
            fixed(&der, self.1)
        })
    }
}

impl JwtSigner for KitSigner {
    fn algorithm(&self) -> Algorithm {
        self.0
    }
}

fn fixed(der: &[u8], key_type: KeyType) -> Vec<u8> {
    use x509_parser::der_parser::der::parse_der_sequence;
    let size = if key_type == KeyType::EcP256 { 32 } else { 48 };
    let (_, sequence) = parse_der_sequence(der).unwrap();
    let mut out = Vec::new();
    for number in sequence.as_sequence().unwrap() {
        let digits = number.as_bigint().unwrap().to_bytes_be().1;
        out.extend(std::iter::repeat_n(0, size - digits.len()));
        out.extend(digits);
    }
    out
}

struct RingVerifier(Algorithm, Vec<u8>);

impl signature::Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let algorithm: &dyn VerificationAlgorithm = match self.0 {
            Algorithm::ES256 => &ring::signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &ring::signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::RS256 => &ring::signature::RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(signature::Error::new()),
        };
        UnparsedPublicKey::new(algorithm, &self.1)
            .verify(message, signature)
            .or(Err(signature::Error::new()))
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.0
    }
}

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| RING.install_default().unwrap());
}

#[derive(serde::Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: &'a [String],
    exp: i64,
    iat: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

fn authority(key_type: KeyType) -> JwtAuthority {
    JwtAuthority::new("kid-1_A", signer(key_type), NOW.plus(DAY)).unwrap()
}

fn issue(authority: &JwtAuthority, audience: &[String], ttl: Seconds) -> JwtSvid {
    let web = id("spiffe://example.org/web");
    let prepared = authority.prepare(&web, audience, ttl, jti(), NOW).unwrap();
    let receipt = Receipt::forged(prepared.binding());
    authority.sign(prepared.redeem(receipt).unwrap()).unwrap()
}

pub(crate) fn algorithm(key_type: KeyType) -> Algorithm {
    match key_type {
        KeyType::EcP256 => Algorithm::ES256,
        KeyType::EcP384 => Algorithm::ES384,
        KeyType::Rsa2048 | KeyType::Rsa4096 => Algorithm::RS256,
    }
}

/// jsonwebtoken passes these bytes on to the provider unread.
pub(crate) fn handle(key_type: KeyType) -> EncodingKey {
    let name = key_type.name().as_bytes();
    if key_type.is_rsa() {
        EncodingKey::from_rsa_der(name)
    } else {
        EncodingKey::from_ec_der(name)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tokens_equal_those_of_jsonwebtoken(
        key_type in prop::sample::select(vec![KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048]),
        audience in prop::collection::vec("\\PC{1,40}|[\u{0}-\u{7f}]{1,20}|[a-z/:.]{1,30}", 1..5),
        path in "(/[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}){1,4}",
        now in 0_i64..4_000_000_000,
        ttl in 1_u32..4_000_000,
        issuer in prop::option::of("https://[a-z\"\\\\]{1,20}"),
    ) {
        install();
        let (now, ttl) = (Timestamp(now), Seconds(ttl));
        let mut authority =
            JwtAuthority::new("kid-1_A", signer(key_type), now.plus(Seconds(2_000_000))).unwrap();
        if let Some(url) = &issuer {
            authority = authority.with_issuer(url);
        }
        let spiffe_id = id(&format!("spiffe://example.org{path}"));
        let jti = jti();
        let prepared = authority.prepare(&spiffe_id, &audience, ttl, jti, now).unwrap();
        let expected = jsonwebtoken::encode(
            &Header { kid: Some("kid-1_A".into()), ..Header::new(algorithm(key_type)) },
            &Claims {
                sub: spiffe_id.as_str(),
                aud: &audience,
                exp: prepared.expires_at().0,
                iat: now.0,
                jti: jti.to_string(),
                iss: issuer.as_deref(),
            },
            &handle(key_type),
        ).unwrap();
        prop_assert_eq!(prepared.expires_at(), now.plus(ttl.min(Seconds(2_000_000))));
        let receipt = Receipt::forged(prepared.binding());
        let svid = authority.sign(prepared.redeem(receipt).unwrap()).unwrap();
        if key_type.is_rsa() {
            prop_assert_eq!(&*svid.token, expected);
        } else {
            // ECDSA signatures differ each time; what is signed, and the length, do not.
            let signed = |token: &str| token.rsplit_once('.').unwrap().0.to_owned();
            prop_assert_eq!(signed(&svid.token), signed(&expected));
            prop_assert_eq!(svid.token.len(), expected.len());
        }
    }
}

#[test]
fn jsonwebtoken_verifies_tokens_of_every_key_type() {
    install();
    for key_type in KeyType::ALL {
        let svid = issue(&authority(key_type), &["db".into()], HOUR);
        let raw = spki::raw_key(signer(key_type).public_key().spki_der())
            .unwrap()
            .to_vec();
        let key = if key_type.is_rsa() {
            DecodingKey::from_rsa_der(&raw)
        } else {
            DecodingKey::from_ec_der(&raw)
        };
        let mut validation = Validation::new(algorithm(key_type));
        validation.set_audience(&["db"]);
        validation.validate_exp = false;
        let decode = |token: &str, validation: &Validation| {
            jsonwebtoken::decode::<serde_json::Value>(token, &key, validation)
        };
        let claims = decode(&svid.token, &validation).unwrap().claims;
        assert_eq!(claims["sub"], "spiffe://example.org/web");
        // The same judge can refuse.
        let mut broken = svid.token.to_string();
        let tail = if broken.pop() == Some('A') { 'Q' } else { 'A' };
        broken.push(tail);
        assert!(decode(&broken, &validation).is_err());
        validation.set_audience(&["other"]);
        let refused = decode(&svid.token, &validation).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::InvalidAudience));
    }
}

#[test]
fn header_and_claims_are_exactly_those_of_the_profile() {
    let svid = issue(&authority(KeyType::EcP256), &["a".into(), "b".into()], HOUR);
    let part = |n: usize| -> serde_json::Map<String, serde_json::Value> {
        let part = svid.token.split('.').nth(n).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let names = |n| {
        part(n)
            .keys()
            .cloned()
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(0), ["alg", "kid", "typ"].map(String::from).into());
    assert_eq!(
        names(1),
        ["aud", "exp", "iat", "jti", "sub"].map(String::from).into()
    );
    let claims = part(1);
    assert_eq!(claims["aud"], serde_json::json!(["a", "b"]));
    assert_eq!(claims["exp"], NOW.plus(HOUR).0);
    assert_eq!(claims["iat"], NOW.0);
    assert_eq!(svid.expires_at, NOW.plus(HOUR));
    assert_eq!(svid.token.split('.').count(), 3);
}

#[test]
fn what_no_token_may_have_is_refused() {
    let authority = authority(KeyType::EcP256);
    let web = id("spiffe://example.org/web");
    let prepare = |audience: &[String], ttl, now| {
        authority
            .prepare(&web, audience, ttl, jti(), now)
            .map(|_| ())
    };
    let db = ["db".to_owned()];
    assert_eq!(prepare(&[], HOUR, NOW), Err(JwtRefused::NoAudience));
    assert_eq!(
        prepare(&[String::new()], HOUR, NOW),
        Err(JwtRefused::AudienceLength(0))
    );
    let long = ["x".repeat(1025)];
    assert_eq!(
        prepare(&long, HOUR, NOW),
        Err(JwtRefused::AudienceLength(1025))
    );
    let many = vec!["db".to_owned(); MAX_AUDIENCES + 1];
    assert_eq!(
        prepare(&many, HOUR, NOW),
        Err(JwtRefused::TooManyAudiences(33))
    );
    assert_eq!(prepare(&db, Seconds(0), NOW), Err(JwtRefused::NoLifetime));
    let end = authority.not_after();
    assert_eq!(prepare(&db, HOUR, end), Err(JwtRefused::KeyExpired(end)));
    assert_eq!(prepare(&db, HOUR, Timestamp(-1)), Err(JwtRefused::Clock));
    let root = id("spiffe://example.org");
    let refused = authority.prepare(&root, &db, HOUR, jti(), NOW);
    assert!(matches!(refused, Err(JwtRefused::NoPath(_))));
    for key_id in ["", "a b", "a\"b", &"k".repeat(65)] {
        assert!(JwtAuthority::new(key_id, signer(KeyType::EcP256), end).is_err());
    }
}

#[test]
fn tokens_are_clamped_to_their_key() {
    let svid = issue(
        &authority(KeyType::EcP256),
        &["db".into()],
        Seconds(u32::MAX),
    );
    assert_eq!(svid.expires_at, NOW.plus(DAY));
}

#[test]
fn a_token_needs_its_own_receipt_and_its_own_authority() {
    let one = authority(KeyType::EcP256);
    let web = id("spiffe://example.org/web");
    let prepare = || one.prepare(&web, &["db".into()], HOUR, jti(), NOW).unwrap();
    let redeemed = prepare().redeem(Receipt::forged(Binding::NONE));
    assert_eq!(redeemed.err(), Some(ReceiptMismatch));
    let prepared = prepare();
    let receipt = Receipt::forged(prepared.binding());
    let recorded = prepared.redeem(receipt).unwrap();
    let other = authority(KeyType::EcP256);
    assert_eq!(other.sign(recorded).err(), Some(IssueError::OtherAuthority));
}

#[test]
fn a_remote_signers_token_is_verified() {
    fn spoil(mut signature: Vec<u8>) -> Result<Vec<u8>, SignError> {
        let last = signature.len() - 1;
        signature[last] ^= 1;
        Ok(signature)
    }
    let answers = [Ok as fn(_) -> _, spoil];
    let results = answers.map(|answer| {
        let inner = signer(KeyType::EcP256);
        let signer = std::sync::Arc::new(Remote { inner, answer });
        let authority = JwtAuthority::new("k", signer, NOW.plus(DAY)).unwrap();
        let web = id("spiffe://example.org/web");
        let prepared = authority
            .prepare(&web, &["db".into()], HOUR, jti(), NOW)
            .unwrap();
        let receipt = Receipt::forged(prepared.binding());
        authority
            .sign(prepared.redeem(receipt).unwrap())
            .map(|_| ())
    });
    let refused = IssueError::Finish(FinishError::DoesNotVerify);
    assert_eq!(results, [Ok(()), Err(refused)]);
}
