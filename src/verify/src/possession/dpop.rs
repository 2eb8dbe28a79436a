//! DPoP proofs (RFC 9449 section 4.3): one small token per request, signed with the
//! key that the access token is bound to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Seconds, Timestamp};
use ring::digest::{Context, SHA256, digest};
use serde_json::{Map, Value};

use super::key::ProofKey;
use crate::jwt::{self, JwtFault, Parts};

/// How old a proof may be, beside the leeway for clocks.
pub const MAX_PROOF_AGE: Seconds = Seconds(60);
/// The longest `jti` of a proof, bytes.
const MAX_ID_BYTES: usize = 256;
/// Members of a JWK that only private and symmetric keys have (RFC 7518 section 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A proof, and the request it came with.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// The `DPoP` header's value; a request with several such headers has none.
    pub jwt: &'a str,
    /// The request's HTTP method.
    pub method: &'a str,
    /// The request's URI as the client wrote it: scheme, host and path.
    pub uri: &'a str,
}

impl std::fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proof({} {})", self.method, self.uri)
    }
}

/// One proof, to be accepted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofId {
    /// Over the key and the proof's `jti`.
    pub id: [u8; 32],
    /// When the proof would be too old anyway.
    pub until: Timestamp,
}

/// Why a proof does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFault {
    /// No signed token of the right form.
    #[error("DPoP proof: {0}")]
    Token(JwtFault),
    /// A header member that is missing or not allowed.
    #[error("DPoP proof header: {0}")]
    Header(&'static str),
    /// A claim that is missing or of the wrong kind.
    #[error("DPoP proof claim {0} is missing or malformed")]
    Claim(&'static str),
    /// It was made for another request.
    #[error("DPoP proof is for another {0} than this request's")]
    OtherRequest(&'static str),
    /// It was made for another token.
    #[error("DPoP proof is for another access token (ath)")]
    OtherToken,
    /// Its key is not the one that the token is bound to.
    #[error("DPoP proof is signed with another key than the token is bound to")]
    OtherKey,
    /// Made too long ago, or in the future.
    #[error("DPoP proof is not fresh; make one for each request and compare the clocks")]
    Stale,
}

pub(super) fn check(
    proof: &Proof<'_>,
    thumbprint: &[u8; 32],
    token: &str,
    now: Timestamp,
    leeway: Seconds,
) -> Result<ProofId, ProofFault> {
    let parts = Parts::split(proof.jwt).map_err(ProofFault::Token)?;
    let header = jwt::decode_object(parts.header).map_err(ProofFault::Token)?;
    let (algorithm, key) = key_of(&header)?;
    if key.thumbprint().as_ref() != Some(thumbprint) {
        return Err(ProofFault::OtherKey);
    }
    key.verify(&parts, &algorithm)?;
    let claims = jwt::decode_object(parts.claims).map_err(ProofFault::Token)?;
    let text = |name: &'static str| match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        _ => Err(ProofFault::Claim(name)),
    };
    if text("htm")? != proof.method {
        return Err(ProofFault::OtherRequest("method"));
    }
    match (target(text("htu")?), target(proof.uri)) {
        (Some(signed), Some(asked)) if signed == asked => {}
        // Two that are no URIs are not the same one.
        _ => return Err(ProofFault::OtherRequest("URI")),
    }
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
    if text("ath")? != hash {
        return Err(ProofFault::OtherToken);
    }
    let made = jwt::time(&claims, "iat").map_err(ProofFault::Token)?;
    let made = made.ok_or(ProofFault::Claim("iat"))?;
    let until = made.plus(MAX_PROOF_AGE).plus(leeway);
    if now >= until || now.plus(leeway) < made {
        return Err(ProofFault::Stale);
    }
    let jti = text("jti")?;
    if jti.len() > MAX_ID_BYTES {
        return Err(ProofFault::Claim("jti"));
    }
    let mut id = Context::new(&SHA256);
    id.update(thumbprint);
    id.update(jti.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(id.finish().as_ref());
    Ok(ProofId { id: bytes, until })
}

/// The algorithm and the public key that the header carries.
fn key_of(header: &Map<String, Value>) -> Result<(String, ProofKey), ProofFault> {
    if header.get("typ").and_then(Value::as_str) != Some("dpop+jwt") {
        return Err(ProofFault::Header("typ is not dpop+jwt"));
    }
    if header.contains_key("crit") {
        return Err(ProofFault::Header(
            "crit asks for an extension no one knows",
        ));
    }
    let Some(Value::String(algorithm)) = header.get("alg") else {
        return Err(ProofFault::Header("alg is missing or not a string"));
    };
    let Some(Value::Object(key)) = header.get("jwk") else {
        return Err(ProofFault::Header("jwk is missing or not an object"));
    };
    if PRIVATE_MEMBERS.iter().any(|name| key.contains_key(*name)) {
        return Err(ProofFault::Header(
            "jwk holds a private key; make a new one, since this one is known now",
        ));
    }
    let key = ProofKey::read(key).ok_or(ProofFault::Header("jwk is no usable public key"))?;
    Ok((algorithm.clone(), key))
}

/// What of a URI counts: scheme and host without regard to case and default port,
/// and the path; no query and no fragment (RFC 9449 section 4.3, step 9).
fn target(uri: &str) -> Option<(String, String, &str)> {
    let uri = uri.split(['?', '#']).next()?;
    let (scheme, rest) = uri.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = scheme.to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let host = host.strip_suffix(default).unwrap_or(&host).to_owned();
    let path = if path.is_empty() { "/" } else { path };
    (!host.is_empty()).then_some((scheme, host, path))
}
