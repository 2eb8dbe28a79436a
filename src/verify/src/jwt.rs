//! JWT-SVIDs: the SPIFFE rules first, then the signature through jsonwebtoken,
//! then audience and times.
//!
//! Of the nine algorithms of JWT-SVID section 2.1, ES512 is not verified, since
//! ring has no P-521: such tokens are refused as [`JwtFault::Unsupported`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{JwtAuthorityKey, Seconds, SpiffeId, SpiffeIdError, Timestamp, TrustDomain};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use crate::jwk::{self, Kind};
use crate::{BundleSource, RevokedFault, provider, strict_json};

/// The longest token looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// What a token proved.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedJwt {
    /// `sub`.
    pub spiffe_id: SpiffeId,
    /// `exp`.
    pub expires_at: Timestamp,
    /// Every claim, as signed.
    pub claims: Map<String, Value>,
}

/// Why a JWT-SVID is not accepted. The text never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtFault {
    /// Not a compact JWS of canonical base64url parts.
    #[error("token is not a compact JWS: {0}")]
    Encoding(&'static str),
    /// A header member that is missing or not allowed.
    #[error("token header: {0}")]
    Header(&'static str),
    /// `alg` outside the nine, or not the one of the key.
    #[error("token algorithm {0:?} is not allowed here")]
    Algorithm(String),
    /// A legal algorithm that this implementation does not have.
    #[error("token algorithm ES512 is legal but not supported; have it issued with ES256 or ES384")]
    Unsupported,
    /// A claim that is missing or of the wrong kind.
    #[error("token claim {name}: {what}")]
    Claim {
        /// Which.
        name: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// `sub` is no SPIFFE ID.
    #[error("token subject is not a SPIFFE ID: {0}")]
    Subject(#[from] SpiffeIdError),
    /// `sub` names a trust domain and not a workload.
    #[error("token subject {0} has no path, so it names a trust domain and not a workload")]
    NoPath(SpiffeId),
    /// The wanted audience is not among those of the token.
    #[error("token is not meant for audience {0:?}")]
    Audience(String),
    /// Past `exp`.
    #[error("token has expired")]
    Expired,
    /// Before `nbf`.
    #[error("token is not valid yet; compare the clocks of both machines")]
    NotYetValid,
    /// No bundle of the subject's trust domain.
    #[error("no bundle of trust domain {0}; federate with it to accept its tokens")]
    UnknownTrustDomain(TrustDomain),
    /// No JWT key of that id.
    #[error("trust domain {trust_domain} has no JWT key {key_id:?}")]
    UnknownKey {
        /// The subject's trust domain.
        trust_domain: TrustDomain,
        /// The token's `kid`.
        key_id: String,
    },
    /// The signature does not verify.
    #[error("token signature does not verify")]
    Signature,
    /// `iss` names another issuer than the one whose tokens are accepted.
    #[error("token was issued by somebody else than {0:?}")]
    Issuer(String),
    /// The issuer has no key of that id.
    #[error("issuer {issuer:?} has no key {key_id:?}; its keys may have to be read again")]
    UnknownIssuerKey {
        /// Whose keys were looked through.
        issuer: String,
        /// The token's `kid`.
        key_id: String,
    },
    /// It is revoked.
    #[error(transparent)]
    Revoked(#[from] RevokedFault),
}

/// Verifies a JWT-SVID for one audience: yours, never one taken from the token.
///
/// `leeway` is what clocks may differ; a few seconds to a minute.
///
/// # Errors
/// The first rule broken.
pub fn verify_jwt_svid(
    token: &str,
    audience: &str,
    bundles: &dyn BundleSource,
    now: Timestamp,
    leeway: Seconds,
) -> Result<VerifiedJwt, JwtFault> {
    let parts = Parts::split(token)?;
    let header = decode_object(parts.header)?;
    check_type(&header)?;
    let (algorithm, key_id) = check_header(&header)?;
    let claims = decode_object(parts.claims)?;
    let spiffe_id = subject(&claims)?;
    let trust_domain = spiffe_id.trust_domain();
    let bundle = bundles
        .bundle(&trust_domain)
        .ok_or_else(|| JwtFault::UnknownTrustDomain(trust_domain.clone()))?;
    let key = bundle
        .jwt_authorities
        .iter()
        .find(|key| *key.key_id == *key_id)
        .ok_or(JwtFault::UnknownKey {
            trust_domain,
            key_id,
        })?;
    verify_signature(&parts, &algorithm, key)?;
    check_audience(&claims, audience)?;
    let expires_at = check_times(&claims, now, leeway)?;
    Ok(VerifiedJwt {
        spiffe_id,
        expires_at,
        claims,
    })
}

/// The three parts of a compact JWS, still encoded.
pub(crate) struct Parts<'a> {
    pub(crate) header: &'a str,
    pub(crate) claims: &'a str,
    pub(crate) signature: &'a str,
    /// Header, dot and claims: what is signed.
    pub(crate) signed: &'a str,
}

impl<'a> Parts<'a> {
    /// Cuts a token up.
    pub(crate) fn split(token: &'a str) -> Result<Self, JwtFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwtFault::Encoding("it has more than 16 KiB"));
        }
        Self::split_bounded(token)
    }

    /// Cuts up what is longer than a token; the caller has bounded its length.
    pub(crate) fn split_bounded(token: &'a str) -> Result<Self, JwtFault> {
        const SHAPE: JwtFault = JwtFault::Encoding("it has not exactly three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or(SHAPE)?;
        let (header, claims) = signed.split_once('.').ok_or(SHAPE)?;
        if claims.contains('.') {
            return Err(SHAPE);
        }
        if signature.is_empty() {
            return Err(JwtFault::Encoding("it is not signed"));
        }
        // Checked here, because jsonwebtoken's own decoder need not be strict.
        URL_SAFE_NO_PAD
            .decode(signature)
            .or(Err(JwtFault::Encoding("its signature is not base64url")))?;
        Ok(Self {
            header,
            claims,
            signature,
            signed,
        })
    }
}

pub(crate) fn decode_object(part: &str) -> Result<Map<String, Value>, JwtFault> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .or(Err(JwtFault::Encoding("a part is not canonical base64url")))?;
    strict_json::object(&bytes).or(Err(JwtFault::Encoding(
        "a part is not a JSON object with unique members",
    )))
}

/// `typ` is absent, `JWT` or `JOSE` (JWT-SVID section 2.3): a token of another
/// profile is refused here before anything else of it is believed.
fn check_type(header: &Map<String, Value>) -> Result<(), JwtFault> {
    match header.get("typ") {
        None => Ok(()),
        Some(Value::String(text)) if text == "JWT" || text == "JOSE" => Ok(()),
        Some(_) => Err(JwtFault::Header("typ is neither JWT nor JOSE")),
    }
}

/// Answers `alg` and `kid`. Unknown members are ignored (RFC 7515 section 4)
/// unless `crit` says they matter.
pub(crate) fn check_header(header: &Map<String, Value>) -> Result<(String, String), JwtFault> {
    const NINE: [&str; 9] = [
        "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
    ];
    let algorithm = match header.get("alg") {
        Some(Value::String(text)) if NINE.contains(&text.as_str()) => text.clone(),
        Some(Value::String(text)) => {
            return Err(JwtFault::Algorithm(text.chars().take(32).collect()));
        }
        _ => return Err(JwtFault::Header("alg is missing or not a string")),
    };
    if header.contains_key("crit") {
        return Err(JwtFault::Header("crit asks for an extension no one knows"));
    }
    match header.get("kid") {
        Some(Value::String(text)) if !text.is_empty() => Ok((algorithm, text.clone())),
        _ => Err(JwtFault::Header("kid is missing or not a string")),
    }
}

pub(crate) fn subject(claims: &Map<String, Value>) -> Result<SpiffeId, JwtFault> {
    let Some(Value::String(text)) = claims.get("sub") else {
        return Err(JwtFault::Claim {
            name: "sub",
            what: "is missing or not a string",
        });
    };
    let id = SpiffeId::parse(text)?;
    if id.has_path() {
        Ok(id)
    } else {
        Err(JwtFault::NoPath(id))
    }
}

/// The key decides which algorithms may be used with it; the header only chooses
/// among those.
pub(crate) fn verify_signature(
    parts: &Parts<'_>,
    algorithm: &str,
    key: &JwtAuthorityKey,
) -> Result<(), JwtFault> {
    let parsed = jwk::parts(&key.spki).ok_or(JwtFault::Signature)?;
    let algorithm = match (parsed.kind, algorithm) {
        (Kind::P256, "ES256") => Algorithm::ES256,
        (Kind::P384, "ES384") => Algorithm::ES384,
        (Kind::P521, "ES512") => return Err(JwtFault::Unsupported),
        (Kind::Rsa, "RS256") => Algorithm::RS256,
        (Kind::Rsa, "RS384") => Algorithm::RS384,
        (Kind::Rsa, "RS512") => Algorithm::RS512,
        (Kind::Rsa, "PS256") => Algorithm::PS256,
        (Kind::Rsa, "PS384") => Algorithm::PS384,
        (Kind::Rsa, "PS512") => Algorithm::PS512,
        (_, other) => return Err(JwtFault::Algorithm(other.to_owned())),
    };
    let key = match parsed.kind {
        Kind::Rsa => DecodingKey::from_rsa_der(&parsed.raw),
        Kind::P256 | Kind::P384 | Kind::P521 => DecodingKey::from_ec_der(&parsed.raw),
    };
    provider::ensure();
    let message = parts.signed.as_bytes();
    match jsonwebtoken::crypto::verify(parts.signature, message, &key, algorithm) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(JwtFault::Signature),
    }
}

pub(crate) fn check_audience(claims: &Map<String, Value>, wanted: &str) -> Result<(), JwtFault> {
    let fault = |what| JwtFault::Claim { name: "aud", what };
    let found = match claims.get("aud") {
        Some(Value::String(one)) if !one.is_empty() => one == wanted,
        Some(Value::Array(many)) if !many.is_empty() => {
            if !many.iter().all(Value::is_string) {
                return Err(fault("holds something other than strings"));
            }
            many.iter().any(|one| one.as_str() == Some(wanted))
        }
        Some(Value::Array(_) | Value::String(_)) => return Err(fault("is empty")),
        Some(_) => return Err(fault("is neither a string nor an array")),
        None => return Err(fault("is missing")),
    };
    if found && !wanted.is_empty() {
        Ok(())
    } else {
        Err(JwtFault::Audience(wanted.chars().take(256).collect()))
    }
}

/// RFC 7519 sections 4.1.4 to 4.1.6; answers `exp`. `iat` only has to be a number.
pub(crate) fn check_times(
    claims: &Map<String, Value>,
    now: Timestamp,
    leeway: Seconds,
) -> Result<Timestamp, JwtFault> {
    let expires_at = time(claims, "exp")?.ok_or(JwtFault::Claim {
        name: "exp",
        what: "is missing",
    })?;
    let not_before = time(claims, "nbf")?;
    time(claims, "iat")?;
    if now >= expires_at.plus(leeway) {
        return Err(JwtFault::Expired);
    }
    if not_before.is_some_and(|nbf| now.plus(leeway) < nbf) {
        return Err(JwtFault::NotYetValid);
    }
    Ok(expires_at)
}

pub(crate) fn time(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<Timestamp>, JwtFault> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    match number(value) {
        Some(time) => Ok(Some(time)),
        None => Err(JwtFault::Claim {
            name,
            what: "is not a number",
        }),
    }
}

/// A NumericDate in whole seconds, fractions cut off.
pub(crate) fn number(value: &Value) -> Option<Timestamp> {
    if let Some(seconds) = value.as_i64() {
        return Some(Timestamp(seconds));
    }
    // Beyond i64, or with a fraction. The cast saturates, and no clock comes near.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds, saturating: fractions do not count"
    )]
    value
        .as_f64()
        .map(|seconds| Timestamp(seconds.floor() as i64))
}
