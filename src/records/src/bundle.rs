//! Trust bundles as the store holds them.

use identity::{
    Bundle, JwtAuthorityKey, Seconds, Timestamp, TrustDomain, X509AuthorityCertificate,
};
use prost::Message;

use crate::RecordError;
use crate::envelope::{BUNDLE, OWNERS_SCHEMA, open_any, seal, seal_as};
use crate::error::damaged;

#[derive(Clone, PartialEq, Message)]
struct BundleBody {
    #[prost(string, tag = "1")]
    trust_domain: String,
    #[prost(message, repeated, tag = "2")]
    x509: Vec<X509Body>,
    #[prost(message, repeated, tag = "3")]
    jwt: Vec<JwtBody>,
    #[prost(uint64, tag = "4")]
    sequence: u64,
    #[prost(uint32, optional, tag = "5")]
    refresh_hint: Option<u32>,
    #[prost(message, repeated, tag = "6")]
    access: Vec<JwtBody>,
}

#[derive(Clone, PartialEq, Message)]
struct X509Body {
    #[prost(bytes = "vec", tag = "1")]
    der: Vec<u8>,
    #[prost(bool, tag = "2")]
    tainted: bool,
}

#[derive(Clone, PartialEq, Message)]
struct JwtBody {
    #[prost(string, tag = "1")]
    key_id: String,
    #[prost(bytes = "vec", tag = "2")]
    spki: Vec<u8>,
    #[prost(int64, optional, tag = "3")]
    expires_at: Option<i64>,
    #[prost(bool, tag = "4")]
    tainted: bool,
}

/// Encodes a bundle. One record holds about 50 P-256 authorities, or a dozen of RSA 4096.
///
/// # Errors
/// [`RecordError::TooLarge`]: it does not fit into one record.
pub fn encode_bundle(bundle: &Bundle) -> Result<Vec<u8>, RecordError> {
    seal(BUNDLE, &body_of_bundle(bundle))
}

/// Encodes the server's own part of the own bundle. What others brought is in records
/// of their own ([`crate::TrustRecord`]), so programs that know of none refuse this one.
///
/// # Errors
/// [`RecordError::TooLarge`]: it does not fit into one record.
pub fn encode_own_bundle(bundle: &Bundle) -> Result<Vec<u8>, RecordError> {
    seal_as(
        BUNDLE,
        OWNERS_SCHEMA,
        OWNERS_SCHEMA,
        &body_of_bundle(bundle),
    )
}

fn body_of_bundle(bundle: &Bundle) -> BundleBody {
    let x509 = bundle.x509_authorities.iter().map(|a| X509Body {
        der: a.der.to_vec(),
        tainted: a.tainted,
    });
    BundleBody {
        trust_domain: bundle.trust_domain.as_str().into(),
        x509: x509.collect(),
        jwt: bundle.jwt_authorities.iter().map(body_of).collect(),
        sequence: bundle.sequence,
        refresh_hint: bundle.refresh_hint.map(|s| s.0),
        access: bundle.access_keys.iter().map(body_of).collect(),
    }
}

/// Decodes a bundle.
///
/// # Errors
/// The bytes are no bundle record.
pub fn decode_bundle(bytes: &[u8]) -> Result<Bundle, RecordError> {
    decode_own_bundle(bytes).map(|(bundle, _owned)| bundle)
}

/// Decodes the own bundle, and says whether it holds the server's own part alone: one
/// written before authorities had owners holds everybody's.
///
/// # Errors
/// The bytes are no bundle record.
pub fn decode_own_bundle(bytes: &[u8]) -> Result<(Bundle, bool), RecordError> {
    let (body, schema): (BundleBody, u32) = open_any(BUNDLE, bytes)?;
    let trust_domain = TrustDomain::parse(&body.trust_domain).map_err(|e| damaged(BUNDLE, &e))?;
    let x509 = body.x509.into_iter().map(|a| X509AuthorityCertificate {
        der: a.der.into(),
        tainted: a.tainted,
    });
    let bundle = Bundle {
        trust_domain,
        x509_authorities: x509.collect(),
        jwt_authorities: body.jwt.into_iter().map(key_of).collect(),
        access_keys: body.access.into_iter().map(key_of).collect(),
        sequence: body.sequence,
        refresh_hint: body.refresh_hint.map(Seconds),
    };
    Ok((bundle, schema >= OWNERS_SCHEMA))
}

fn body_of(key: &JwtAuthorityKey) -> JwtBody {
    JwtBody {
        key_id: key.key_id.as_ref().into(),
        spki: key.spki.to_vec(),
        expires_at: key.expires_at.map(|t| t.0),
        tainted: key.tainted,
    }
}

fn key_of(body: JwtBody) -> JwtAuthorityKey {
    JwtAuthorityKey {
        key_id: body.key_id.into(),
        spki: body.spki.into(),
        expires_at: body.expires_at.map(Timestamp),
        tainted: body.tainted,
    }
}
