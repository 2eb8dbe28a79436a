//! What a federated bundle must be made of before it is kept: agents hand it to
//! every workload that federates, and one unreadable authority would be theirs.

use std::collections::HashSet;

use identity::{Bundle, JwtAuthorityKey, Seconds, Timestamp};
use keys::PublicKey;

use crate::failure::Failure;
use crate::limits;

/// Each certificate is one certificate, and a CA's; each key can be read; no key
/// id is given twice.
pub(super) fn authorities(bundle: &Bundle) -> Result<(), Failure> {
    for (n, authority) in bundle.x509_authorities.iter().enumerate() {
        certificate(&authority.der)
            .map_err(|why| Failure::invalid(format!("bundle.x509_authorities[{n}]: {why}")))?;
    }
    let mut ids = HashSet::new();
    for (n, authority) in bundle.jwt_authorities.iter().enumerate() {
        let field = || format!("bundle.jwt_authorities[{n}]");
        PublicKey::from_spki(&authority.spki)
            .map_err(|why| Failure::invalid(format!("{}: {why}", field())))?;
        if !ids.insert(&authority.key_id) {
            return Err(Failure::invalid(format!(
                "{}: its key id is given twice",
                field()
            )));
        }
    }
    Ok(())
}

/// A key that a downstream server publishes says when it goes, so that it does.
pub(super) fn downstream_key(key: &JwtAuthorityKey, now: Timestamp) -> Result<(), Failure> {
    key_id(key)?;
    let latest = now.plus(Seconds(limits::MAX_DOWNSTREAM_KEY_SECONDS));
    match key.expires_at {
        Some(end) if end > now && end <= latest => Ok(()),
        _ => Err(Failure::invalid(
            "jwt_authority.expires_at: it must be in the future, and at most 366 days away",
        )),
    }
}

/// A key id of the own bundle: small, for it is in every copy of the bundle.
pub(super) fn key_id(key: &JwtAuthorityKey) -> Result<(), Failure> {
    if key.key_id.is_empty() || key.key_id.len() > limits::MAX_KEY_ID_BYTES {
        return Err(Failure::invalid(format!(
            "jwt_authority.key_id: it must have 1 to {} bytes",
            limits::MAX_KEY_ID_BYTES
        )));
    }
    Ok(())
}

fn certificate(der: &[u8]) -> Result<(), &'static str> {
    let (rest, certificate) =
        x509_parser::parse_x509_certificate(der).or(Err("it is not one DER certificate"))?;
    if !rest.is_empty() {
        return Err("bytes follow the certificate");
    }
    if certificate.is_ca() {
        Ok(())
    } else {
        Err("it is not a CA certificate")
    }
}
