//! Scoped tokens of both profiles equal jsonwebtoken's, byte for byte before the
//! signature; each profile has its own header, and neither is minted without what
//! it needs.

use authority::{
    AccessAuthority, Confirmation, DecisionMark, IssueError, JwtAuthority, JwtRefused,
    NOT_BEFORE_SKEW, ReceiptMismatch, Scoped,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Seconds, Timestamp};
use journal::{Binding, Receipt};
use jsonwebtoken::Header;
use keys::KeyType;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::jwt::{algorithm, handle, install};
use crate::kit::{DAY, HOUR, NOW, id, jti, signer};

const ISSUER: &str = "https://issuer.example.org";

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    List([&'a str; 1]),
}

#[derive(serde::Serialize)]
struct Cnf {
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jkt: Option<String>,
}

#[derive(serde::Serialize)]
struct Mark<'a> {
    id: &'a str,
    ps: &'a str,
    auth: &'a str,
}

#[derive(serde::Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: Audience<'a>,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: String,
    iss: &'a str,
    client_id: &'a str,
    scope: &'a str,
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    authorization_details: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Cnf>,
    #[serde(rename = "urn:bulla:decision")]
    decision: Mark<'a>,
}

fn any_detail() -> impl Strategy<Value = Value> {
    ("\\PC{0,12}", any::<i64>(), "[\u{0}-\u{7f}]{0,8}").prop_map(
        |(kind, amount, text)| json!({"type": kind, "limits": {"amount": amount}, "z": [text]}),
    )
}

fn any_confirmation() -> impl Strategy<Value = Confirmation> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Confirmation::Certificate),
        any::<[u8; 32]>().prop_map(Confirmation::Key),
    ]
}

fn cnf(confirmation: Confirmation) -> Cnf {
    let text = |sha256: [u8; 32]| Some(URL_SAFE_NO_PAD.encode(sha256));
    match confirmation {
        Confirmation::Certificate(sha256) => Cnf {
            certificate: text(sha256),
            jkt: None,
        },
        Confirmation::Key(sha256) => Cnf {
            certificate: None,
            jkt: text(sha256),
        },
    }
}

fn signed(token: &str) -> String {
    token.rsplit_once('.').unwrap().0.to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn scoped_tokens_equal_those_of_jsonwebtoken(
        key_type in prop::sample::select(vec![KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048]),
        audience in "\\PC{1,40}|[\u{0}-\u{7f}]{1,20}|[a-z/:.]{1,30}",
        scope in "[a-z:. \"\\\\]{0,60}",
        details in prop::collection::vec(any_detail(), 0..4),
        confirmation in any_confirmation(),
        path in "(/[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}){1,4}",
        now in 0_i64..4_000_000_000,
        ttl in 1_u32..4_000_000,
        access in any::<bool>(),
    ) {
        install();
        let now = Timestamp(now);
        let end = now.plus(Seconds(2_000_000));
        let expires_at = now.plus(Seconds(ttl));
        let spiffe_id = id(&format!("spiffe://example.org{path}"));
        let jti = jti();
        let mark = DecisionMark { id: "dec_1", policy_set: "00ff", authority: "spiffe://example.org/spire/server" };
        let scoped = Scoped {
            audience: &audience,
            scope: &scope,
            authorization_details: &details,
            confirmation: access.then_some(confirmation),
            decision: mark,
        };
        let (typ, audience, token) = if access {
            let authority = AccessAuthority::new("kid-1_A", signer(key_type), ISSUER, end).unwrap();
            let prepared = authority.prepare(&spiffe_id, &scoped, (now, expires_at), jti).unwrap();
            let receipt = Receipt::forged(prepared.binding());
            let made = authority.sign(prepared.redeem(receipt).unwrap()).unwrap();
            prop_assert_eq!(made.expires_at, expires_at.min(end));
            ("at+jwt", Audience::One(&audience), made.token)
        } else {
            let authority = JwtAuthority::new("kid-1_A", signer(key_type), end).unwrap().with_issuer(ISSUER);
            let prepared = authority.prepare_scoped(&spiffe_id, &scoped, (now, expires_at), jti).unwrap();
            let receipt = Receipt::forged(prepared.binding());
            let made = authority.sign(prepared.redeem(receipt).unwrap()).unwrap();
            ("JWT", Audience::List([&audience]), made.token)
        };
        let expected = jsonwebtoken::encode(
            &Header {
                kid: Some("kid-1_A".into()),
                typ: Some(typ.into()),
                ..Header::new(algorithm(key_type))
            },
            &Claims {
                sub: spiffe_id.as_str(),
                aud: audience,
                exp: expires_at.min(end).0,
                iat: now.0,
                nbf: now.minus(NOT_BEFORE_SKEW).0.max(0),
                jti: jti.to_string(),
                iss: ISSUER,
                client_id: spiffe_id.as_str(),
                scope: &scope,
                authorization_details: &details,
                cnf: access.then(|| cnf(confirmation)),
                decision: Mark { id: mark.id, ps: mark.policy_set, auth: mark.authority },
            },
            &handle(key_type),
        ).unwrap();
        prop_assert_eq!(signed(&token), signed(&expected));
        prop_assert_eq!(token.len(), expected.len());
        if key_type.is_rsa() {
            prop_assert_eq!(&*token, expected);
        }
    }
}

const MARK: DecisionMark<'static> = DecisionMark {
    id: "dec_1",
    policy_set: "00ff",
    authority: "spiffe://example.org/spire/server",
};

fn scoped(audience: &str) -> Scoped<'_> {
    Scoped {
        audience,
        scope: "payments:read",
        authorization_details: &[],
        confirmation: Some(Confirmation::Certificate([7; 32])),
        decision: MARK,
    }
}

fn access() -> AccessAuthority {
    AccessAuthority::new("k", signer(KeyType::EcP256), ISSUER, NOW.plus(DAY)).unwrap()
}

#[test]
fn what_no_access_token_may_lack_is_refused() {
    let authority = access();
    let web = id("spiffe://example.org/web");
    let prepare = |scoped: &Scoped<'_>, from: Timestamp, to: Timestamp| {
        let prepared = authority.prepare(&web, scoped, (from, to), jti());
        prepared.map(|p| p.expires_at())
    };
    let later = NOW.plus(HOUR);
    assert_eq!(prepare(&scoped("db"), NOW, later), Ok(later));
    let unbound = Scoped {
        confirmation: None,
        ..scoped("db")
    };
    assert_eq!(prepare(&unbound, NOW, later), Err(JwtRefused::NotBound));
    let nobody = prepare(&scoped(""), NOW, later);
    assert_eq!(nobody, Err(JwtRefused::AudienceLength(0)));
    let over = prepare(&scoped("db"), NOW, NOW);
    assert_eq!(over, Err(JwtRefused::NoLifetime));
    let end = authority.not_after();
    let dead = prepare(&scoped("db"), end, end.plus(HOUR));
    assert_eq!(dead, Err(JwtRefused::KeyExpired(end)));
    let clamped = prepare(&scoped("db"), NOW, end.plus(HOUR));
    assert_eq!(clamped, Ok(end), "nothing outlives its key");
    let large = "x".repeat(17 << 10);
    let wide = Scoped {
        scope: &large,
        ..scoped("db")
    };
    let refused = prepare(&wide, NOW, later);
    assert!(matches!(refused, Err(JwtRefused::ClaimsLength(_))));
    let root = id("spiffe://example.org");
    let refused = authority.prepare(&root, &scoped("db"), (NOW, later), jti());
    assert!(matches!(refused, Err(JwtRefused::NoPath(_))));
}

#[test]
fn an_access_token_needs_its_own_receipt_and_its_own_authority() {
    let web = id("spiffe://example.org/web");
    let (one, other) = (access(), access());
    let prepare = || {
        let life = (NOW, NOW.plus(HOUR));
        one.prepare(&web, &scoped("db"), life, jti()).unwrap()
    };
    let redeemed = prepare().redeem(Receipt::forged(Binding::NONE));
    assert_eq!(redeemed.err(), Some(ReceiptMismatch));
    let recorded = || {
        let prepared = prepare();
        let receipt = Receipt::forged(prepared.binding());
        prepared.redeem(receipt).unwrap()
    };
    assert_eq!(
        other.sign(recorded()).err(),
        Some(IssueError::OtherAuthority)
    );
    // Nor does a key of JWT-SVIDs sign an access token.
    let jwt = JwtAuthority::new("k", signer(KeyType::EcP256), NOW.plus(DAY)).unwrap();
    assert_eq!(jwt.sign(recorded()).err(), Some(IssueError::OtherAuthority));
    assert!(one.sign(recorded()).is_ok());
}
