//! X.509-SVIDs: the SPIFFE leaf checks, then RFC 5280 path validation.

use identity::{Bundle, CertificateSerial, SpiffeId, SpiffeIdError, Timestamp, TrustDomain};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::RevokedFault;
use crate::path::verify_path;

/// The most certificates in a presented chain, leaf included.
pub const MAX_CHAIN: usize = 8;

/// The largest certificate looked at, in bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// What a chain proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedX509 {
    /// Whom the chain identifies.
    pub spiffe_id: SpiffeId,
    /// The leaf's serial number.
    pub serial: CertificateSerial,
    /// When the leaf began to be valid.
    pub not_before: Timestamp,
    /// When the leaf expires.
    pub not_after: Timestamp,
}

/// What a leaf says of itself; nothing of it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafIdentity {
    /// The one URI SAN.
    pub spiffe_id: SpiffeId,
    /// The serial number.
    pub serial: CertificateSerial,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

/// Why an X.509-SVID is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Fault {
    /// No certificate was presented.
    #[error("certificate chain is empty")]
    Empty,
    /// More certificates, or bigger ones, than anyone needs.
    #[error("certificate chain is too long: {0}")]
    TooLarge(&'static str),
    /// Not the DER of one certificate.
    #[error("certificate {0} of the chain is not the DER of one certificate")]
    Encoding(usize),
    /// X509-SVID section 2: exactly one URI SAN.
    #[error("leaf has {0} URI subject alternative names; an X.509-SVID has exactly one")]
    UriCount(usize),
    /// X509-SVID section 5.2: a SPIFFE ID.
    #[error("leaf's URI is not a SPIFFE ID: {0}")]
    Id(#[from] SpiffeIdError),
    /// X509-SVID section 5.2: a path.
    #[error("leaf's SPIFFE ID {0} has no path, so it names a trust domain and not a workload")]
    NoPath(SpiffeId),
    /// X509-SVID section 5.2: not a signing certificate.
    #[error("leaf {0}: a signing certificate is never used for authentication")]
    SigningCertificate(&'static str),
    /// An extension that is repeated or malformed.
    #[error("leaf has a malformed or repeated {0} extension")]
    Extension(&'static str),
    /// X509-SVID section 4.4: both purposes.
    #[error("leaf's extended key usage lacks serverAuth or clientAuth; an X.509-SVID has both")]
    Purpose,
    /// The bundle is of another trust domain.
    #[error("leaf is of trust domain {found}, the bundle of {bundle}")]
    OtherTrustDomain {
        /// The leaf's.
        found: TrustDomain,
        /// The bundle's.
        bundle: TrustDomain,
    },
    /// The bundle has no usable X.509 authority.
    #[error("trust domain {0} has no X.509 authority, so no X.509-SVID of it is accepted")]
    NoAuthority(TrustDomain),
    /// Past its end.
    #[error("certificate has expired")]
    Expired,
    /// Before its start.
    #[error("certificate is not valid yet; compare the clocks of both machines")]
    NotYetValid,
    /// RFC 5280 path validation failed.
    #[error("certificate chain does not lead to an authority of the trust domain: {0}")]
    Path(String),
    /// The leaf, or a certificate above it, is revoked.
    #[error(transparent)]
    Revoked(#[from] RevokedFault),
}

/// Verifies a presented chain, leaf first, against the bundle of the leaf's own
/// trust domain. Intermediates may come in any order.
///
/// Name constraints of authorities and intermediates bind whatever is below them
/// (RFC 5280 section 4.2.1.10), critical or not. Those on URIs bind the trust domain
/// of a SPIFFE ID: `f.test` means that one, `.f.test` every one below it. Where they
/// are used a trust domain must look like a host name: one that is an IP address, or
/// has empty labels, is refused. Constraints on directory names refuse every chain.
///
/// # Errors
/// The first rule broken: SPIFFE's leaf rules, then those of RFC 5280.
pub fn verify_x509_svid(
    chain: &[&[u8]],
    bundle: &Bundle,
    now: Timestamp,
) -> Result<VerifiedX509, X509Fault> {
    let (leaf, intermediates) = chain.split_first().ok_or(X509Fault::Empty)?;
    if chain.len() > MAX_CHAIN {
        return Err(X509Fault::TooLarge("too many certificates"));
    }
    if chain.iter().any(|der| der.len() > MAX_CERTIFICATE_BYTES) {
        return Err(X509Fault::TooLarge("a certificate has more than 64 KiB"));
    }
    let identity = leaf_identity(leaf)?;
    if identity.spiffe_id.trust_domain_str() != bundle.trust_domain.as_str() {
        return Err(X509Fault::OtherTrustDomain {
            found: identity.spiffe_id.trust_domain(),
            bundle: bundle.trust_domain.clone(),
        });
    }
    verify_path(leaf, intermediates, bundle, now)?;
    Ok(VerifiedX509 {
        spiffe_id: identity.spiffe_id,
        serial: identity.serial,
        not_before: identity.not_before,
        not_after: identity.not_after,
    })
}

/// Reads a leaf and checks what SPIFFE asks of one (X509-SVID section 5.2):
/// exactly one URI, a SPIFFE ID with a path, and no power to sign. Proves nothing
/// about who signed it.
///
/// # Errors
/// The first rule broken.
pub fn leaf_identity(der: &[u8]) -> Result<LeafIdentity, X509Fault> {
    let (rest, leaf) = X509Certificate::from_der(der).or(Err(X509Fault::Encoding(0)))?;
    if !rest.is_empty() {
        return Err(X509Fault::Encoding(0));
    }
    let spiffe_id = spiffe_id(&leaf)?;
    check_not_signing(&leaf)?;
    let purposes = leaf
        .extended_key_usage()
        .or(Err(X509Fault::Extension("extended key usage")))?;
    if purposes.is_some_and(|p| !(p.value.server_auth && p.value.client_auth)) {
        return Err(X509Fault::Purpose);
    }
    Ok(LeafIdentity {
        spiffe_id,
        serial: CertificateSerial::new(leaf.tbs_certificate.raw_serial()),
        not_before: Timestamp(leaf.validity().not_before.timestamp()),
        not_after: Timestamp(leaf.validity().not_after.timestamp()),
    })
}

fn spiffe_id(leaf: &X509Certificate<'_>) -> Result<SpiffeId, X509Fault> {
    let names = leaf
        .subject_alternative_name()
        .or(Err(X509Fault::Extension("subject alternative name")))?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    if names.iter().any(|n| matches!(n, GeneralName::Invalid(..))) {
        return Err(X509Fault::Extension("subject alternative name"));
    }
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris[..] else {
        return Err(X509Fault::UriCount(uris.len()));
    };
    let id = SpiffeId::parse(uri)?;
    if id.has_path() {
        Ok(id)
    } else {
        Err(X509Fault::NoPath(id))
    }
}

fn check_not_signing(leaf: &X509Certificate<'_>) -> Result<(), X509Fault> {
    let constraints = leaf
        .basic_constraints()
        .or(Err(X509Fault::Extension("basic constraints")))?;
    if constraints.is_some_and(|c| c.value.ca) {
        return Err(X509Fault::SigningCertificate("has the CA flag set"));
    }
    let usage = leaf
        .key_usage()
        .or(Err(X509Fault::Extension("key usage")))?;
    let usage = usage.map(|extension| extension.value);
    if usage.is_some_and(|u| u.key_cert_sign()) {
        return Err(X509Fault::SigningCertificate("may sign certificates"));
    }
    if usage.is_some_and(|u| u.crl_sign()) {
        return Err(X509Fault::SigningCertificate("may sign revocation lists"));
    }
    Ok(())
}
