//! `POST /v1/check`: is this token, or this peer's certificate, valid here and now,
//! and whose is it?
//!
//! Only a 200 says yes. Anything else, including a client that looks at nothing but
//! the status, says no.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use identity::{Bundle, TrustDomain};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::{Kind, Problem};
use super::{Call, pem};
use crate::workload_api::{Admitted, Answer, LEEWAY, REQUEST_PATIENCE, claims};

/// What is to be checked: a token for an audience, or a certificate chain.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    token: Option<String>,
    audience: Option<String>,
    certificate_chain: Option<Chain>,
}

/// Leaf first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Chain {
    /// PEM, or one certificate in base64.
    Text(String),
    /// Each PEM or base64.
    List(Vec<String>),
}

type Bundles = BTreeMap<TrustDomain, Arc<Bundle>>;

/// Answers one request.
pub(super) async fn answer(
    call: &Call<'_>,
    body: Incoming,
    admitted: Admitted,
) -> Result<Response<Answer>, Problem> {
    call.query.expect(&[])?;
    let core = &call.connection.api.core;
    let limit = core.settings.config.limits.request_bytes;
    let wanted = parse(&read(call.headers, body, limit).await?)?;
    let attested = call.attest().await?;
    let visible = core.hub.visible_bundles(&attested.selectors)?;
    let by_name = visible.into_iter().map(|b| (b.trust_domain.clone(), b));
    let bundles: Bundles = by_name.collect();
    let now = core.now();
    let verdict = match wanted {
        Checked::Token { token, audience } => {
            let verified = verify::verify_jwt_svid(&token, &audience, &bundles, now, LEEWAY);
            let verified = verified.map_err(|fault| Kind::NotValid.because(fault.to_string()))?;
            let is_ours = verified.spiffe_id.is_member_of(&core.settings.trust_domain);
            json!({
                "kind": "jwt-svid",
                "spiffe_id": verified.spiffe_id.to_string(),
                "trust_domain": verified.spiffe_id.trust_domain_str(),
                "expires_at": verified.expires_at.0,
                "claims": claims(verified, is_ours),
            })
        }
        Checked::Chain(chain) => certificate(&chain, &bundles, now)?,
    };
    Ok(super::json(
        StatusCode::OK,
        super::text(&verdict),
        Some(admitted),
    ))
}

fn certificate(
    chain: &[Vec<u8>],
    bundles: &Bundles,
    now: identity::Timestamp,
) -> Result<Value, Problem> {
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let invalid = |fault: verify::X509Fault| Kind::NotValid.because(fault.to_string());
    let leaf = verify::leaf_identity(chain.first().copied().unwrap_or_default());
    let leaf = leaf.map_err(invalid)?;
    let name = leaf.spiffe_id.trust_domain();
    let bundle = bundles.get(&name).ok_or_else(|| {
        let why = format!("no bundle of trust domain {name}; federate with it to accept its SVIDs");
        Kind::NotValid.because(why)
    })?;
    let verified = verify::verify_x509_svid(&chain, bundle, now).map_err(invalid)?;
    Ok(json!({
        "kind": "x509-svid",
        "spiffe_id": verified.spiffe_id.to_string(),
        "trust_domain": name.as_str(),
        "expires_at": verified.not_after.0,
        "serial": verified.serial.to_string(),
    }))
}

enum Checked {
    Token { token: String, audience: String },
    Chain(Vec<Vec<u8>>),
}

// The parser's own words may quote the token, and problems are logged.
fn parse(body: &[u8]) -> Result<Checked, Problem> {
    let wanted: Wanted = serde_json::from_slice(body).map_err(|error| {
        Kind::BadRequest.because(format!(
            "the body is no JSON object of token and audience, or of certificate_chain (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    let bad = |why: &str| Err(Kind::BadRequest.because(why));
    match (wanted.token, wanted.certificate_chain, wanted.audience) {
        (Some(token), None, Some(audience)) if !token.is_empty() && !audience.is_empty() => {
            Ok(Checked::Token { token, audience })
        }
        (Some(_), None, _) => bad("a token and your own audience must be given, neither empty"),
        (None, Some(_), Some(_)) => bad("an audience goes with a token, not with certificates"),
        (None, Some(chain), None) => chain.decode().map(Checked::Chain),
        (Some(_), Some(_), _) => bad("give a token or a certificate_chain, not both"),
        (None, None, _) => bad("give a token with your audience, or a certificate_chain"),
    }
}

impl Chain {
    fn decode(self) -> Result<Vec<Vec<u8>>, Problem> {
        let texts = match self {
            Self::Text(text) => vec![text],
            Self::List(texts) => texts,
        };
        let each = texts.iter().map(|text| pem::certificates(text));
        let all: Option<Vec<_>> = each.collect();
        let chain: Vec<_> = all.into_iter().flatten().flatten().collect();
        if chain.is_empty() {
            return Err(Kind::BadRequest
                .because("certificate_chain is neither PEM nor base64 DER; give the leaf first"));
        }
        Ok(chain)
    }
}

async fn read(headers: &HeaderMap, body: Incoming, limit: u32) -> Result<Bytes, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.unwrap_or_default().split(|b| *b == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/json") {
        return Err(Kind::NotJson.problem());
    }
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    let collected = tokio::time::timeout(REQUEST_PATIENCE, limited.collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Kind::BodyTooLarge.problem()),
        Ok(Err(_)) => Err(Kind::BadRequest.because("the body broke off")),
        Err(_) => Err(Kind::BadRequest.because("the body did not arrive in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Checked, parse};

    #[test]
    fn exactly_one_thing_is_checked() {
        let token = parse(br#"{"token":"a.b.c","audience":"x"}"#).unwrap();
        assert!(matches!(token, Checked::Token { .. }));
        let chain = parse(br#"{"certificate_chain":["AQID","BAUG"]}"#).unwrap();
        assert!(matches!(chain, Checked::Chain(chain) if chain.len() == 2));
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"token":"a"}"#,
            r#"{"token":"","audience":"x"}"#,
            r#"{"token":"a","audience":""}"#,
            r#"{"token":"a","audience":"x","certificate_chain":"AQID"}"#,
            r#"{"certificate_chain":"AQID","audience":"x"}"#,
            r#"{"certificate_chain":[]}"#,
            r#"{"certificate_chain":["?"]}"#,
            r#"{"token":"a","audience":"x","more":1}"#,
            r#"{"token":"a","token":"b","audience":"x"}"#,
            r#"{"token":7,"audience":"x"}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_in_a_malformed_body_is_not_repeated() {
        for bad in [
            r#"{"certificate_chain": {"eyJsecret": 1}}"#,
            r#"{"token": ["eyJsecret"]}"#,
            r#"{"eyJsecret": "x"}"#,
            "\"eyJsecret\"",
        ] {
            let problem = parse(bad.as_bytes()).err().unwrap();
            assert!(!problem.detail.contains("eyJsecret"), "{}", problem.detail);
        }
    }
}
