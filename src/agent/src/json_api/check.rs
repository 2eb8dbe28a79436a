//! `POST /v1/check`: is this token, or this peer's certificate, valid here and now,
//! whose is it, and does it allow this call?
//!
//! Only a 200 says yes. Anything else, including a client that looks at nothing but
//! the status, says no.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use identity::{Bundle, SpiffeId, Timestamp, TrustDomain};
use serde::Deserialize;
use serde_json::{Value, json};
use verify::RevocationCheck;

use super::check_token::token;
use super::problem::{Kind, Problem};
use super::{Call, pem};
use crate::workload_api::{Admitted, Answer, REQUEST_PATIENCE};

/// What is to be checked: a token for an audience, a certificate chain, or both; and
/// the call that the token came with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default, deserialize_with = "present")]
    token: Option<String>,
    #[serde(default, deserialize_with = "present")]
    audience: Option<String>,
    #[serde(default, deserialize_with = "present")]
    certificate_chain: Option<Chain>,
    #[serde(default, deserialize_with = "present")]
    method: Option<String>,
    #[serde(default, deserialize_with = "present")]
    path: Option<String>,
    #[serde(default, deserialize_with = "present")]
    dpop: Option<Dpop>,
}

/// A member that is there has a value: null is none.
pub(super) fn present<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(input).map(Some)
}

/// A DPoP proof and the URI that it must be for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dpop {
    pub(super) proof: String,
    pub(super) uri: String,
    /// The call's, where no method and path are checked.
    #[serde(default, deserialize_with = "present")]
    pub(super) method: Option<String>,
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

pub(super) type Bundles = BTreeMap<TrustDomain, Arc<Bundle>>;

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
    let visible = core.hub.visible_bundles(&attested.caller())?;
    let by_name = visible.into_iter().map(|b| (b.trust_domain.clone(), b));
    let bundles: Bundles = by_name.collect();
    core.hub.knows_revocations()?;
    let now = core.now();
    let revocations = RevocationCheck::of(&*core.hub);
    let verdict = match wanted {
        Checked::Token(presented) => {
            let uid = call.connection.caller.peer().uid();
            token(core, &presented, &bundles, revocations, (uid, now))?
        }
        Checked::Chain(chain) => certificate(&chain, &bundles, revocations, now)?.0,
    };
    Ok(super::json(
        StatusCode::OK,
        super::text(&verdict),
        Some(admitted),
    ))
}

pub(super) fn certificate(
    chain: &[Vec<u8>],
    bundles: &Bundles,
    revocations: RevocationCheck<'_>,
    now: Timestamp,
) -> Result<(Value, SpiffeId), Problem> {
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let invalid = |fault: verify::X509Fault| Kind::NotValid.because(fault.to_string());
    let leaf = verify::leaf_identity(chain.first().copied().unwrap_or_default());
    let leaf = leaf.map_err(invalid)?;
    let name = leaf.spiffe_id.trust_domain();
    let bundle = bundles.get(&name).ok_or_else(|| {
        let why = format!("no bundle of trust domain {name}; federate with it to accept its SVIDs");
        Kind::NotValid.because(why)
    })?;
    let verified = verify::verify_x509_svid_not_revoked(&chain, bundle, revocations, now);
    let verified = verified.map_err(invalid)?;
    let verdict = json!({
        "kind": "x509-svid",
        "spiffe_id": verified.spiffe_id.to_string(),
        "trust_domain": name.as_str(),
        "expires_at": verified.not_after.0,
        "serial": verified.serial.to_string(),
    });
    Ok((verdict, verified.spiffe_id))
}

enum Checked {
    Token(Box<Presented>),
    Chain(Vec<Vec<u8>>),
}

/// A token, how it was presented, and the call it came with.
pub(super) struct Presented {
    pub(super) token: String,
    pub(super) audience: String,
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) call: Option<(String, String)>,
    pub(super) dpop: Option<Dpop>,
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
    let chain = wanted.certificate_chain.map(Chain::decode).transpose()?;
    let call = match (wanted.method, wanted.path) {
        (Some(method), Some(path)) => Some((method, path)),
        (None, None) => None,
        _ => return bad("method and path of a call go together"),
    };
    match (wanted.token, chain, wanted.audience) {
        (Some(token), chain, Some(audience)) if !token.is_empty() && !audience.is_empty() => {
            Ok(Checked::Token(Box::new(Presented {
                token,
                audience,
                chain: chain.unwrap_or_default(),
                call,
                dpop: wanted.dpop,
            })))
        }
        (Some(_), ..) => bad("a token and your own audience must be given, neither empty"),
        (None, Some(_), Some(_)) => bad("an audience goes with a token, not with certificates"),
        (None, Some(_), None) if call.is_some() || wanted.dpop.is_some() => {
            bad("a call and its proof go with a token, not with certificates")
        }
        (None, Some(chain), None) => Ok(Checked::Chain(chain)),
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

pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    limit: u32,
) -> Result<Bytes, Problem> {
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
        assert!(matches!(token, Checked::Token(_)));
        let both = br#"{"token":"a.b.c","audience":"x","certificate_chain":["AQID"],
            "method":"GET","path":"/","dpop":{"proof":"a.b.c","uri":"https://x/"}}"#;
        assert!(matches!(parse(both).unwrap(), Checked::Token(t) if t.call.is_some()));
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
            r#"{"token":"a","audience":"x","method":"GET"}"#,
            r#"{"token":"a","audience":"x","path":"/"}"#,
            r#"{"certificate_chain":["AQID"],"method":"GET","path":"/"}"#,
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
