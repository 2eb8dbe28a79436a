//! Access tokens (`at+jwt`, RFC 9068): signed with keys of the issuer's OAuth key
//! set, which are not in any SPIFFE bundle, so that no JWT-SVID passes for one and
//! none of them passes for a JWT-SVID.

use identity::{JwtAuthorityKey, Seconds, Timestamp, TrustDomain};
use serde_json::{Map, Value};

use crate::jwt::{self, JwtFault, Parts, VerifiedJwt};

/// Who issues access tokens, and the public keys of its key set (`jwks_uri`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuer {
    /// The issuer's URL, as `iss` has it, compared byte by byte.
    pub issuer: String,
    /// The only trust domain whose workloads it speaks for.
    pub trust_domain: TrustDomain,
    /// Its keys, in any order.
    pub keys: Vec<JwtAuthorityKey>,
}

/// Verifies an access token for one audience: yours, never one taken from the token.
///
/// Holds it to RFC 9068 section 4 and RFC 8725: `typ` first, the issuer's own keys
/// alone, exactly one audience, and each claim that section 2.2 requires. Possession
/// is not checked here; [`crate::verify_scoped_token`] does both.
///
/// # Errors
/// The first rule broken.
pub fn verify_access_token(
    token: &str,
    audience: &str,
    issuer: &TokenIssuer,
    now: Timestamp,
    leeway: Seconds,
) -> Result<VerifiedJwt, JwtFault> {
    let parts = Parts::split(token)?;
    let header = jwt::decode_object(parts.header)?;
    if !is_access_token(&header) {
        return Err(JwtFault::Header("typ is not at+jwt"));
    }
    let (algorithm, key_id) = jwt::check_header(&header)?;
    let claims = jwt::decode_object(parts.claims)?;
    if text(&claims, "iss")? != issuer.issuer {
        return Err(JwtFault::Issuer(issuer.issuer.clone()));
    }
    let key = issuer.keys.iter().find(|key| *key.key_id == *key_id);
    let key = key.ok_or_else(|| JwtFault::UnknownIssuerKey {
        issuer: issuer.issuer.clone(),
        key_id,
    })?;
    jwt::verify_signature(&parts, &algorithm, key)?;
    let spiffe_id = jwt::subject(&claims)?;
    if !spiffe_id.is_member_of(&issuer.trust_domain) {
        return Err(JwtFault::Claim {
            name: "sub",
            what: "is of a trust domain that its issuer does not speak for",
        });
    }
    one_audience(&claims)?;
    jwt::check_audience(&claims, audience)?;
    text(&claims, "client_id")?;
    text(&claims, "jti")?;
    jwt::time(&claims, "iat")?.ok_or(JwtFault::Claim {
        name: "iat",
        what: "is missing",
    })?;
    let expires_at = jwt::check_times(&claims, now, leeway)?;
    Ok(VerifiedJwt {
        spiffe_id,
        expires_at,
        claims,
    })
}

/// Whether a header says it heads an access token. Media types are compared without
/// regard to case, and `application/` may be there (RFC 7515 section 4.1.9).
pub(crate) fn is_access_token(header: &Map<String, Value>) -> bool {
    let Some(Value::String(text)) = header.get("typ") else {
        return false;
    };
    let text = text.to_ascii_lowercase();
    matches!(text.as_str(), "at+jwt" | "application/at+jwt")
}

/// A token for several services lets each replay it at the others.
fn one_audience(claims: &Map<String, Value>) -> Result<(), JwtFault> {
    match claims.get("aud") {
        Some(Value::Array(many)) if many.len() != 1 => Err(JwtFault::Claim {
            name: "aud",
            what: "does not name exactly one audience",
        }),
        _ => Ok(()),
    }
}

/// A claim that is a string and not empty.
fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, JwtFault> {
    match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(JwtFault::Claim {
            name,
            what: "is missing or not a string",
        }),
    }
}
