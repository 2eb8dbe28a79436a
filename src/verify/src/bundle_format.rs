//! The SPIFFE bundle format (SPIFFE Trust Domain and Bundle section 4), and the
//! plain JWK Set of JWT keys that the Workload API and OIDC discovery serve.
//!
//! Elements that a reader does not understand are skipped, never reported: that is
//! how new uses can appear (sections 4.1.3, 4.2.1, 4.2.2). A document that is
//! unusable as a whole is an error, and then the old bundle stays; a readable
//! document without keys is a bundle without authorities, which distrusts all.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::{Bundle, JwtAuthorityKey, Seconds, TrustDomain, X509AuthorityCertificate};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{jwk, strict_json};

/// The largest document looked at, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// Why a document is not a bundle. Bad elements are skipped, not reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("bundle document has {0} bytes; at most {MAX_DOCUMENT_BYTES} are allowed")]
    TooLarge(usize),
    /// Not JSON, or not of the required shape.
    #[error("not a SPIFFE bundle document: {0}")]
    Shape(String),
}

/// Writes a bundle as a JWK Set with both uses, the sequence number and, when there
/// is one, the refresh hint. Authorities whose key has no JWK form are left out.
#[must_use]
pub fn encode(bundle: &Bundle) -> String {
    let x509 = bundle.x509_authorities.iter().filter_map(|authority| {
        let (_, certificate) = X509Certificate::from_der(&authority.der).ok()?;
        let mut jwk = jwk::parts(certificate.public_key().raw)?.members();
        jwk.insert("use".into(), "x509-svid".into());
        let x5c = STANDARD.encode(&authority.der);
        jwk.insert("x5c".into(), Value::Array(vec![x5c.into()]));
        Some(Value::Object(jwk))
    });
    let jwt = bundle.jwt_authorities.iter().filter_map(|authority| {
        let mut jwk = jwt_key(authority)?;
        jwk.insert("use".into(), "jwt-svid".into());
        Some(Value::Object(jwk))
    });
    let mut document = Map::new();
    document.insert("keys".into(), x509.chain(jwt).collect());
    document.insert("spiffe_sequence".into(), bundle.sequence.into());
    if let Some(hint) = bundle.refresh_hint {
        document.insert("spiffe_refresh_hint".into(), hint.0.into());
    }
    Value::Object(document).to_string()
}

/// Writes the JWT keys alone as a plain JWK Set, without `use`: what the Workload
/// API carries for each trust domain (Workload API section 6).
#[must_use]
pub fn encode_jwt_keys(bundle: &Bundle) -> String {
    let keys = bundle.jwt_authorities.iter().filter_map(jwt_key);
    let keys: Value = keys.map(Value::Object).collect();
    Value::Object(Map::from_iter([("keys".to_owned(), keys)])).to_string()
}

/// Writes keys as a JWK Set for verifiers that know OAuth and OIDC alone: `use` is
/// `sig`, `alg` is the key's one. What is no longer to be relied on is left out.
///
/// Such verifiers take whatever signature fits the `kid`, for access tokens as well: give
/// the issuer's own keys alone, never those that somebody else brought into a bundle. Of
/// several keys with one id the first is written.
#[must_use]
pub fn encode_web_keys<'a>(keys: impl IntoIterator<Item = &'a JwtAuthorityKey>) -> String {
    let mut key_ids = BTreeSet::new();
    let keys = keys.into_iter();
    let keys = keys.filter(|key| key_ids.insert(Arc::clone(&key.key_id)));
    let keys = keys.filter(|key| !key.tainted).filter_map(|key| {
        let mut jwk = jwt_key(key)?;
        let alg = match jwk.get("crv").and_then(Value::as_str) {
            Some("P-256") => "ES256",
            Some("P-384") => "ES384",
            Some(_) => return None,
            None => "RS256",
        };
        jwk.insert("use".into(), "sig".into());
        jwk.insert("alg".into(), alg.into());
        Some(Value::Object(jwk))
    });
    let keys: Value = keys.collect();
    Value::Object(Map::from_iter([("keys".to_owned(), keys)])).to_string()
}

fn jwt_key(authority: &JwtAuthorityKey) -> Option<Map<String, Value>> {
    let mut jwk = jwk::parts(&authority.spki)?.members();
    jwk.insert("kid".into(), Value::from(&*authority.key_id));
    Some(jwk)
}

/// Reads the bundle document of a trust domain, which is known beforehand: the
/// document does not name it.
///
/// Tainted authorities are not marked in this format: whatever is read counts as
/// untainted.
///
/// # Errors
/// Only when the document as a whole is unusable: then keep the old bundle.
pub fn decode(trust_domain: &TrustDomain, document: &[u8]) -> Result<Bundle, FormatError> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(FormatError::TooLarge(document.len()));
    }
    let members =
        strict_json::object(document).map_err(|error| FormatError::Shape(error.to_string()))?;
    let Some(Value::Array(keys)) = members.get("keys") else {
        return Err(FormatError::Shape("\"keys\" is missing or no array".into()));
    };
    let mut bundle = Bundle::empty(trust_domain.clone());
    bundle.sequence = number(&members, "spiffe_sequence")?.unwrap_or_default();
    let hint = number(&members, "spiffe_refresh_hint")?;
    bundle.refresh_hint = hint.map(|s| Seconds(u32::try_from(s).unwrap_or(u32::MAX)));
    let mut certificates = BTreeSet::new();
    let mut key_ids = BTreeSet::new();
    for key in keys.iter().filter_map(Value::as_object) {
        match key.get("use").and_then(Value::as_str) {
            Some("x509-svid") => {
                bundle.x509_authorities.extend(
                    x509_authority(key).filter(|a| certificates.insert(Arc::clone(&a.der))),
                );
            }
            Some("jwt-svid") => {
                bundle
                    .jwt_authorities
                    .extend(jwt_authority(key).filter(|a| key_ids.insert(Arc::clone(&a.key_id))));
            }
            _ => {}
        }
    }
    Ok(bundle)
}

fn number(members: &Map<String, Value>, name: &str) -> Result<Option<u64>, FormatError> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(FormatError::Shape(format!(
                "{name:?} is not a whole number from 0 to 2^64-1"
            ))),
        },
    }
}

/// X509-SVID section 6.2: the first certificate of `x5c` counts, any others do not.
fn x509_authority(jwk: &Map<String, Value>) -> Option<X509AuthorityCertificate> {
    if !matches!(jwk.get("kty")?.as_str()?, "EC" | "RSA") {
        return None;
    }
    let first = jwk.get("x5c")?.as_array()?.first()?.as_str()?;
    let der = STANDARD.decode(first).ok()?;
    let (rest, _) = X509Certificate::from_der(&der).ok()?;
    let usable = webpki::anchor_from_trusted_cert(&CertificateDer::from(&der[..])).is_ok();
    (rest.is_empty() && usable).then(|| X509AuthorityCertificate {
        der: der.into(),
        tainted: false,
    })
}

fn jwt_authority(jwk: &Map<String, Value>) -> Option<JwtAuthorityKey> {
    let key_id = jwk.get("kid")?.as_str().filter(|id| !id.is_empty())?;
    if !jwk::is_for_verifying(jwk) {
        return None;
    }
    Some(JwtAuthorityKey {
        key_id: key_id.into(),
        spki: jwk::spki_of(jwk)?.into(),
        expires_at: None,
        tainted: false,
    })
}
