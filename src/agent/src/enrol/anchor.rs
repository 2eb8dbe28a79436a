//! What the first contact with a server is trusted by: a bundle the admin put
//! here, or a pin that one of the server's authorities must match.

use std::path::Path;
use std::sync::Arc;

use identity::{Bundle, SpiffeId, Timestamp, TrustDomain, X509AuthorityCertificate};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::EnrolError;
use crate::disk::read_limited;
use crate::limits;

/// Reads a bundle file: PEM certificates or a SPIFFE bundle document.
pub(crate) fn read_bundle_file(
    path: &Path,
    trust_domain: &TrustDomain,
) -> Result<Bundle, EnrolError> {
    let unusable = |why: String| EnrolError::BundleFile {
        path: path.to_owned(),
        why,
    };
    let bytes = read_limited(path, limits::SMALL_FILE_BYTES)?
        .ok_or_else(|| unusable("there is no such file".to_owned()))?;
    let bundle = if bytes.trim_ascii_start().starts_with(b"{") {
        verify::bundle_format::decode(trust_domain, &bytes).map_err(|e| unusable(e.to_string()))?
    } else {
        pem_bundle(&bytes, trust_domain).map_err(unusable)?
    };
    if bundle.x509_authorities.is_empty() {
        return Err(unusable("it has no X.509 authority".to_owned()));
    }
    Ok(bundle)
}

fn pem_bundle(bytes: &[u8], trust_domain: &TrustDomain) -> Result<Bundle, String> {
    let mut bundle = Bundle::empty(trust_domain.clone());
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|e| format!("it is not PEM: {e}"))?;
        bundle.x509_authorities.push(X509AuthorityCertificate {
            der: certificate.as_ref().into(),
            tainted: false,
        });
        if bundle.x509_authorities.len() > limits::BUNDLE_AUTHORITIES {
            return Err(format!(
                "it has more than {} certificates",
                limits::BUNDLE_AUTHORITIES
            ));
        }
    }
    Ok(bundle)
}

/// Decides whether the bundle that an unverified server sent may be trusted: one
/// of its authorities must match a pin, and the chain the server showed in the
/// handshake of that same connection must verify against that one alone.
pub(crate) fn check_pins(
    pins: &[[u8; 32]],
    bundle: &Bundle,
    server_chain: &[Arc<[u8]>],
    server_id: &SpiffeId,
    now: Timestamp,
) -> Result<(), EnrolError> {
    let pinned: Vec<_> = bundle
        .x509_authorities
        .iter()
        .filter(|authority| is_pinned(pins, &authority.der))
        .cloned()
        .collect();
    if pinned.is_empty() {
        let offered = bundle.x509_authorities.iter().map(|a| fingerprint(&a.der));
        return Err(EnrolError::PinMismatch {
            offered: offered.take(limits::BUNDLE_AUTHORITIES).collect(),
        });
    }
    let alone = Bundle {
        x509_authorities: pinned,
        ..Bundle::empty(bundle.trust_domain.clone())
    };
    let chain: Vec<&[u8]> = server_chain.iter().map(AsRef::as_ref).collect();
    let server = verify::verify_x509_svid(&chain, &alone, now).map_err(EnrolError::ServerChain)?;
    if server.spiffe_id != *server_id {
        return Err(EnrolError::NotTheServer(server.spiffe_id));
    }
    Ok(())
}

fn is_pinned(pins: &[[u8; 32]], der: &[u8]) -> bool {
    let hash = digest(&SHA256, der);
    pins.iter().any(|pin| hash.as_ref() == pin)
}

/// SHA-256 of a certificate as `bulla token create` prints it.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hex::encode(digest(&SHA256, der))
}
