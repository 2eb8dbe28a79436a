//! `POST /v1/token`: a token that says what it may do, with the certificate that it
//! is bound to. Both are in one answer, so a long poll hands out the new pair in one
//! update when either is renewed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use identity::Timestamp;
use policy::TokenRequest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::conditions::Tagger;
use super::poll::{Found, Look, Source};
use super::problem::{Kind, Problem};
use super::x509::nothing;
use super::{Call, check, pem};
use crate::hub::Subscription;
use crate::process::Attested;
use crate::scoped::{Pair, Refused, Wanted};

/// The wish of a workload.
pub(super) struct Scoped(Wanted);

/// What only the agent reads of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    audience: String,
    #[serde(default)]
    permissions: Vec<String>,
    #[serde(default)]
    authorization_details: Vec<Value>,
    #[serde(default, deserialize_with = "check::present")]
    ttl: Option<u32>,
    #[serde(default, deserialize_with = "check::present")]
    profile: Option<String>,
    #[serde(default)]
    all_or_nothing: bool,
    #[serde(default)]
    spiffe_id: String,
    #[serde(default, deserialize_with = "check::present")]
    jkt: Option<String>,
}

impl Scoped {
    /// Reads the wish.
    pub(super) async fn wanted(call: &Call<'_>, body: Incoming) -> Result<Self, Problem> {
        let limit = call
            .connection
            .api
            .core
            .settings
            .config
            .limits
            .request_bytes;
        parse(&check::read(call.headers, body, limit).await?).map(Self)
    }
}

fn parse(body: &[u8]) -> Result<Wanted, Problem> {
    let bad = |why: String| Kind::BadRequest.because(why);
    let body: Body = serde_json::from_slice(body).map_err(|error| bad(brief(&error)))?;
    let jkt = body.jkt.as_deref().map(|text| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let bytes: Option<[u8; 32]> = bytes.and_then(|b| b.try_into().ok());
        bytes.ok_or_else(|| bad("jkt is no SHA-256 thumbprint in base64url".to_owned()))
    });
    let request = TokenRequest {
        audience: body.audience,
        permissions: body.permissions,
        authorization_details: body.authorization_details,
        ttl: body.ttl,
        profile: body.profile,
        all_or_nothing: body.all_or_nothing,
    };
    Wanted::new(request, &body.spiffe_id, jkt.transpose()?).map_err(bad)
}

// The parser's own words may quote what was sent, and problems are logged. What they
// say of the contract quotes nothing: which field is missing, or what was expected.
fn brief(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    let text = text.get(..end).unwrap_or_default();
    let hint = if text.starts_with("missing field `") {
        format!(": {text}")
    } else if let Some((_, expected)) = text.rsplit_once(", expected ") {
        format!(": expected {expected}")
    } else {
        String::new()
    };
    format!(
        "the body is no token request as the contract has it{hint} (line {}, column {})",
        error.line(),
        error.column()
    )
}

impl Source for Scoped {
    const IS_VIEW: bool = false;

    async fn look(
        &self,
        call: &Call<'_>,
        attested: &Attested,
        view: &mut Subscription,
    ) -> Result<Look, Problem> {
        view.mark_seen();
        let connection = call.connection;
        let scoped = &connection.api.scoped;
        match scoped
            .pair(&connection.caller, &attested.caller(), &self.0)
            .await
        {
            Ok(Some(pair)) => Ok(Look::Found(found(&pair))),
            Ok(None) => Ok(Look::Pending),
            Err(Refused::Status(status)) => nothing(status),
            Err(refused @ Refused::Decided(_)) => Ok(Look::Nothing(denied(&refused))),
        }
    }
}

fn found(pair: &Pair) -> Found {
    let (minted, svid) = (&pair.minted, &pair.issued.svid);
    let mut tagger = Tagger::new("token");
    tagger.add(minted.token.as_bytes());
    for der in &svid.chain {
        tagger.add(der);
    }
    let chain = svid.chain.iter().map(|der| &**der);
    let body = json!({
        "token": minted.token,
        "profile": minted.profile,
        "spiffe_id": svid.spiffe_id.to_string(),
        "hint": pair.entry.hint,
        "jti": minted.jti,
        "decision": minted.decision_id,
        "granted": granted(minted),
        "refused": refused(minted),
        "authorization_details": details(minted),
        "expires_at": minted.expires_at,
        "renew_at": minted.renew_at,
        "limited_by": minted.limited_by,
        "warnings": minted.warnings.iter().map(|w| json!({
            "permission": w.permission, "text": w.text,
        })).collect::<Vec<_>>(),
        "policy_set": minted.policy_set,
        "certificate": {
            "x509_svid": pem::encode("CERTIFICATE", chain),
            "x509_svid_key": pem::encode("PRIVATE KEY", [pair.issued.key.secret_pkcs8()]),
            "expires_at": svid.not_after.0,
            "renew_at": pair.issued.renewed_by().0,
        },
    });
    Found {
        body: super::text(&body),
        etag: tagger.finish(),
        stale_at: Some(Timestamp(minted.renew_at)),
    }
}

/// A decided refusal: which permissions, by which policies, and what was nearest.
fn denied(refused_: &Refused) -> Problem {
    let Refused::Decided(response) = refused_ else {
        return Kind::Unavailable.because(refused_.text());
    };
    let error = response.error.clone().unwrap_or_default();
    let kind = match error.code.as_str() {
        "access_denied" => Kind::TokenDenied,
        "slow_down" => Kind::TokenRate,
        _ => Kind::TokenRequest,
    };
    let mut problem = kind.because(error.description);
    problem.more = Map::from_iter([
        ("error".to_owned(), Value::from(error.code)),
        (
            "decision".to_owned(),
            Value::from(response.decision_id.clone()),
        ),
        ("refused".to_owned(), refused(response)),
    ]);
    if error.retry_after_seconds > 0 {
        problem.retry_after = Some(error.retry_after_seconds);
    }
    problem
}

fn granted(minted: &api::token::MintResponse) -> Value {
    let each = minted.granted.iter().map(|granted| {
        json!({
            "permission": granted.permission,
            "policies": granted.policies.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(),
        })
    });
    each.collect()
}

fn refused(minted: &api::token::MintResponse) -> Value {
    let each = minted.refused.iter().map(|refused| {
        json!({
            "permission": refused.permission,
            "error": refused.code,
            "reason": refused.reason,
            "policies": refused.policies.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(),
            "nearest": refused.nearest.iter().map(|near| json!({
                "policy": near.policy, "failed": near.failed,
            })).collect::<Vec<_>>(),
        })
    });
    each.collect()
}

fn details(minted: &api::token::MintResponse) -> Value {
    serde_json::from_str(&minted.authorization_details).unwrap_or_else(|_| json!([]))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_secret_in_a_malformed_wish_is_not_repeated() {
        for bad in [
            r#"{"audience":"db","permissions":"eyJsecret"}"#,
            r#"{"audience":"db","eyJsecret":1}"#,
            r#"{"audience":"db","ttl":"eyJsecret, expected eyJsecret"}"#,
        ] {
            let problem = parse(bad.as_bytes()).unwrap_err();
            assert!(!problem.detail.contains("eyJsecret"), "{}", problem.detail);
        }
    }

    #[test]
    fn u11_a_malformed_wish_is_told_what_is_missing_or_expected() {
        for (bad, said) in [
            ("{}", "missing field `audience`"),
            (r#"{"audience":"db","ttl":"x"}"#, "expected u32"),
            (r#"{"audience":"db","scope":"x"}"#, "`permissions`"),
        ] {
            let problem = parse(bad.as_bytes()).unwrap_err();
            assert!(problem.detail.contains(said), "{}", problem.detail);
        }
    }

    #[test]
    fn a_wish_is_read_strictly() {
        assert!(parse(br#"{"audience":"db"}"#).is_ok());
        let all = r#"{"audience":"db","permissions":["db:read"],"ttl":60,"profile":"at+jwt",
            "authorization_details":[{"type":"urn:x"}],"all_or_nothing":true,
            "spiffe_id":"spiffe://example.org/web","jkt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        assert!(parse(all.as_bytes()).is_ok());
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"audience":""}"#,
            r#"{"audience":"db","scope":"x"}"#,
            r#"{"audience":"db","ttl":-1}"#,
            r#"{"audience":"db","jkt":"AA"}"#,
            r#"{"audience":"db","spiffe_id":"x"}"#,
            r#"{"audience":"db","audience":"e"}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
