//! A presented chain: bounded first, then checked against the roots, then read.

use std::time::Duration;

use contract::VerifyError;
use identity::{Selector, Timestamp};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::key::{self, NodeKeyKind};
use crate::{KIND, MAX_CERTIFICATES, MAX_CHAIN_BYTES, Roots};

/// The most selectors by URI names of a certificate.
const MAX_SAN_SELECTORS: usize = 16;

/// The scheme of URI names that become selectors.
const SAN_SCHEME: &str = "x509pop://";

fn refused(why: &str) -> VerifyError {
    VerifyError::Refused(why.to_owned())
}

/// Certificates of a node are made for many ends; theirs is not asked for.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        purposes.try_for_each(|purpose| purpose.map(drop))
    }
}

/// Holds certificates to the bounds before anything that costs is done with them.
pub(crate) fn bound(certificates: &[Vec<u8>]) -> Result<NodeKeyKind, VerifyError> {
    let bytes: usize = certificates.iter().map(Vec::len).sum();
    if certificates.len() > MAX_CERTIFICATES || bytes > MAX_CHAIN_BYTES {
        return Err(VerifyError::Malformed(
            "it has too many certificates or bytes",
        ));
    }
    let mut keys = Vec::with_capacity(certificates.len());
    for der in certificates {
        let certificate = parse(der)?;
        keys.push(key::read(certificate.public_key()).map_err(refused)?);
    }
    let mut keys = keys.into_iter();
    keys.next()
        .ok_or(VerifyError::Malformed("it has no certificate"))
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, VerifyError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(VerifyError::Malformed("a certificate cannot be read")),
    }
}

/// Checks that the chain leads to a root, and that its first key may sign. Returns
/// the certificates of the CAs on the way, the root last.
pub(crate) fn check(
    certificates: &[Vec<u8>],
    roots: &Roots,
    now: Timestamp,
) -> Result<Vec<Vec<u8>>, VerifyError> {
    let mut ders = certificates.iter();
    let leaf = ders.next().map(Vec::as_slice).unwrap_or_default();
    let parsed = parse(leaf)?;
    let usage = parsed.key_usage().ok().flatten();
    if !usage.is_some_and(|usage| usage.value.digital_signature()) {
        return Err(refused(
            "the certificate's key usage is not digitalSignature",
        ));
    }
    let mut signing = Vec::new();
    for der in ders {
        let intermediate = parse(der)?;
        // RFC 5280 section 6.1.4 (n); webpki looks at the CA flag only.
        let usage = intermediate.key_usage().ok().flatten();
        if usage.is_none_or(|usage| usage.value.key_cert_sign()) {
            signing.push(CertificateDer::from(der.as_slice()));
        }
    }
    let seconds = u64::try_from(now.0).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let anchors: Vec<_> = roots.at(now.0).map(|root| root.anchor.clone()).collect();
    let leaf = CertificateDer::from(leaf);
    let no = |error: webpki::Error| {
        VerifyError::Refused(format!("the certificate leads to no trusted root: {error}"))
    };
    let entity = EndEntityCert::try_from(&leaf).map_err(no)?;
    let path = entity
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &signing,
            time,
            AnyPurpose,
            None,
            None,
        )
        .map_err(no)?;
    let cas = path.intermediate_certificates();
    let mut cas: Vec<Vec<u8>> = cas.map(|ca| ca.der().to_vec()).collect();
    let anchor = path.anchor();
    let root = roots.at(now.0).find(|root| {
        root.anchor.subject == anchor.subject
            && root.anchor.subject_public_key_info == anchor.subject_public_key_info
    });
    cas.extend(root.map(|root| root.der.clone()));
    Ok(cas)
}

/// SHA-1 of a certificate, lowercase hexadecimal: a name that SPIRE's users know,
/// not a protection. Two certificates of one SHA-1 would both have to be signed by
/// the operator's CA.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der))
}

/// What is known of the node by its certificate, as SPIRE's selectors say it.
pub(crate) fn selectors(
    leaf: &X509Certificate<'_>,
    cas: &[Vec<u8>],
    trust_domain: &str,
) -> Vec<Selector> {
    let mut values = Vec::new();
    let names = leaf.subject().iter_common_name();
    let name = names.last().and_then(|name| name.as_str().ok());
    values.extend(
        name.filter(|name| !name.is_empty())
            .map(|name| format!("subject:cn:{name}")),
    );
    values.extend(
        cas.iter()
            .map(|ca| format!("ca:fingerprint:{}", fingerprint(ca))),
    );
    let serial = leaf.tbs_certificate.raw_serial();
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    let serial = serial.get(zeros..).unwrap_or_default();
    values.push(format!("serialnumber:{}", hex::encode(serial)));
    values.extend(uri_names(leaf, trust_domain));
    values.sort();
    values.dedup();
    // A name that can be no selector (control characters) is left out, not guessed at.
    let selectors = values.iter().map(|value| Selector::new(KIND, value));
    selectors.filter_map(Result::ok).collect()
}

/// `x509pop://<trust domain>/<key>/<value>` as `san:<key>:<value>`.
fn uri_names(leaf: &X509Certificate<'_>, trust_domain: &str) -> Vec<String> {
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice());
    let uris = names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    let pairs = uris.filter_map(|uri| {
        let path = uri.strip_prefix(SAN_SCHEME)?.strip_prefix(trust_domain)?;
        let (key, value) = path.strip_prefix('/')?.trim_matches('/').split_once('/')?;
        Some(format!("san:{key}:{value}"))
    });
    pairs.take(MAX_SAN_SELECTORS).collect()
}
