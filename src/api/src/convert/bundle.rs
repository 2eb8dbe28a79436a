//! Trust bundles, with the masks that say which fields count.

use bytes::Bytes;
use identity::{Bundle, JwtAuthorityKey, Seconds, Timestamp, X509AuthorityCertificate};

use super::{FieldError, trust_domain_from_wire};
use crate::types::{self, BundleMask};

const EVERY_FIELD: BundleMask = BundleMask {
    x509_authorities: true,
    jwt_authorities: true,
    refresh_hint: true,
    sequence_number: true,
    wit_authorities: true,
};

/// Parses a bundle. Certificates and keys are taken as bytes: whoever keeps them
/// must parse them first.
///
/// # Errors
/// Names the first field that cannot be taken.
pub fn bundle_from_wire(wire: &types::Bundle) -> Result<Bundle, FieldError> {
    let trust_domain = trust_domain_from_wire("bundle.trust_domain", &wire.trust_domain)?;
    merge_bundle(Bundle::empty(trust_domain), wire, None)
}

/// A bundle with the fields of `wire` that the mask names (all without a mask).
/// The trust domain stays.
///
/// # Errors
/// Names the first masked field that cannot be taken.
pub fn merge_bundle(
    mut base: Bundle,
    wire: &types::Bundle,
    mask: Option<&BundleMask>,
) -> Result<Bundle, FieldError> {
    let mask = mask.unwrap_or(&EVERY_FIELD);
    if mask.x509_authorities {
        base.x509_authorities = wire.x509_authorities.iter().map(certificate).collect();
    }
    if mask.jwt_authorities {
        base.jwt_authorities = keys_from_wire(&wire.jwt_authorities)?;
    }
    if mask.refresh_hint {
        base.refresh_hint = match u32::try_from(wire.refresh_hint) {
            Ok(0) => None,
            Ok(seconds) => Some(Seconds(seconds)),
            Err(_) => {
                let problem = format!("{} seconds is out of range", wire.refresh_hint);
                return Err(FieldError::new("bundle.refresh_hint", problem));
            }
        };
    }
    if mask.sequence_number {
        base.sequence = wire.sequence_number;
    }
    Ok(base)
}

/// The wire form of a bundle: its trust domain and the fields the mask names
/// (all without a mask).
#[must_use]
pub fn bundle_to_wire(bundle: &Bundle, mask: Option<&BundleMask>) -> types::Bundle {
    let mask = mask.unwrap_or(&EVERY_FIELD);
    let mut wire = types::Bundle {
        trust_domain: bundle.trust_domain.as_str().to_owned(),
        ..Default::default()
    };
    if mask.x509_authorities {
        let certificates = bundle.x509_authorities.iter();
        wire.x509_authorities = certificates
            .map(|certificate| types::X509Certificate {
                asn1: Bytes::copy_from_slice(&certificate.der),
                tainted: certificate.tainted,
            })
            .collect();
    }
    if mask.jwt_authorities {
        wire.jwt_authorities = keys_to_wire(&bundle.jwt_authorities);
    }
    if mask.refresh_hint {
        wire.refresh_hint = bundle.refresh_hint.map_or(0, |hint| i64::from(hint.0));
    }
    if mask.sequence_number {
        wire.sequence_number = bundle.sequence;
    }
    wire
}

/// The wire form of keys that sign tokens.
#[must_use]
pub fn keys_to_wire(keys: &[JwtAuthorityKey]) -> Vec<types::JwtKey> {
    let wire = keys.iter().map(|key| types::JwtKey {
        public_key: Bytes::copy_from_slice(&key.spki),
        key_id: key.key_id.as_ref().to_owned(),
        expires_at: key.expires_at.unwrap_or_default().0,
        tainted: key.tainted,
    });
    wire.collect()
}

/// Parses keys that sign tokens. They are taken as bytes: whoever uses them must
/// parse them first.
///
/// # Errors
/// Names the first field that cannot be taken.
pub fn keys_from_wire(wire: &[types::JwtKey]) -> Result<Vec<JwtAuthorityKey>, FieldError> {
    wire.iter().map(jwt_key).collect()
}

fn certificate(wire: &types::X509Certificate) -> X509AuthorityCertificate {
    X509AuthorityCertificate {
        der: wire.asn1.as_ref().into(),
        tainted: wire.tainted,
    }
}

fn jwt_key(wire: &types::JwtKey) -> Result<JwtAuthorityKey, FieldError> {
    if wire.key_id.is_empty() {
        let problem = "a key id is required";
        return Err(FieldError::new("bundle.jwt_authorities.key_id", problem));
    }
    if wire.expires_at < 0 {
        let problem = format!("{} is before 1970; 0 is unknown", wire.expires_at);
        return Err(FieldError::new(
            "bundle.jwt_authorities.expires_at",
            problem,
        ));
    }
    Ok(JwtAuthorityKey {
        key_id: wire.key_id.as_str().into(),
        spki: wire.public_key.as_ref().into(),
        expires_at: (wire.expires_at != 0).then_some(Timestamp(wire.expires_at)),
        tainted: wire.tainted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> types::Bundle {
        types::Bundle {
            trust_domain: "other.test".into(),
            x509_authorities: vec![types::X509Certificate {
                asn1: Bytes::from_static(b"der"),
                tainted: true,
            }],
            jwt_authorities: vec![types::JwtKey {
                public_key: Bytes::from_static(b"spki"),
                key_id: "k1".into(),
                expires_at: 9,
                tainted: false,
            }],
            refresh_hint: 300,
            sequence_number: 4,
            wit_authorities: Vec::new(),
        }
    }

    #[test]
    fn a_bundle_survives_the_way_there_and_back() {
        let bundle = bundle_from_wire(&full()).unwrap();
        assert_eq!(bundle_to_wire(&bundle, None), full());
        let bare = bundle_to_wire(&bundle, Some(&BundleMask::default()));
        assert_eq!(bare.trust_domain, "other.test");
        assert!(bare.x509_authorities.is_empty() && bare.sequence_number == 0);
    }

    #[test]
    fn bad_fields_are_named() {
        let mut wire = full();
        wire.refresh_hint = -1;
        let field = |wire: &types::Bundle| bundle_from_wire(wire).unwrap_err().field();
        assert_eq!(field(&wire), "bundle.refresh_hint");
        wire = full();
        wire.jwt_authorities[0].key_id.clear();
        assert_eq!(field(&wire), "bundle.jwt_authorities.key_id");
        wire = full();
        wire.trust_domain = "no domain".into();
        assert_eq!(field(&wire), "bundle.trust_domain");
    }
}
