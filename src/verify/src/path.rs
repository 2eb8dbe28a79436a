//! From a leaf to an authority (RFC 5280 section 6), whichever way leads there.
//!
//! One judge decides about every path, [`crate::constrained_path`]: a presenter that
//! adds certificates to its chain must not be able to choose who judges it. What
//! rustls-webpki can judge, it judges there; as a whole it is asked in tests alone,
//! where both must agree.

use std::time::Duration;

use identity::{Bundle, Timestamp};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::anchor_from_trusted_cert;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::X509Fault;
use crate::constrained_path;

/// What a path is made of, read once.
pub(crate) struct Parts<'a> {
    pub(crate) leaf: CertificateDer<'a>,
    /// The presented certificates that may sign, in the order shown.
    pub(crate) signing: Vec<CertificateDer<'a>>,
    /// The authorities that can verify anything now, as certificates.
    pub(crate) authorities: Vec<CertificateDer<'a>>,
    pub(crate) time: UnixTime,
}

/// Finds a path from the leaf to an authority of the bundle.
pub(crate) fn verify_path(
    leaf: &[u8],
    intermediates: &[&[u8]],
    bundle: &Bundle,
    now: Timestamp,
) -> Result<(), X509Fault> {
    constrained_path::verify(&Parts::read(leaf, intermediates, bundle, now)?)
}

impl<'a> Parts<'a> {
    pub(crate) fn read(
        leaf: &'a [u8],
        intermediates: &[&'a [u8]],
        bundle: &'a Bundle,
        now: Timestamp,
    ) -> Result<Self, X509Fault> {
        let authorities = usable_authorities(bundle, now)?;
        let seconds = u64::try_from(now.0).or(Err(X509Fault::NotYetValid))?;
        let mut signing = Vec::with_capacity(intermediates.len());
        for (i, der) in intermediates.iter().enumerate() {
            let (_, certificate) =
                X509Certificate::from_der(der).or(Err(X509Fault::Encoding(i + 1)))?;
            if may_sign(&certificate) {
                signing.push(CertificateDer::from(*der));
            }
        }
        Ok(Self {
            leaf: CertificateDer::from(leaf),
            signing,
            authorities,
            time: UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        })
    }
}

/// webpki's own verdict, for tests to compare with.
#[cfg(test)]
pub(crate) fn verify_by_webpki(parts: &Parts<'_>) -> Result<(), X509Fault> {
    use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
    let anchors = parts.authorities.iter();
    let anchors: Vec<rustls_pki_types::TrustAnchor<'_>> = anchors
        .filter_map(|der| anchor_from_trusted_cert(der).ok())
        .collect();
    EndEntityCert::try_from(&parts.leaf)
        .map_err(|error| fault(&error))?
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &parts.signing,
            parts.time,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(|_| ())
        .map_err(|error| fault(&error))
}

/// RFC 5280 section 6.1.4 (n): a key usage, where there is one, includes keyCertSign.
/// webpki looks at the CA flag only.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// The authorities that can verify anything now. webpki never looks at an
/// anchor's own validity, so an expired root is left out here.
fn usable_authorities(
    bundle: &Bundle,
    now: Timestamp,
) -> Result<Vec<CertificateDer<'_>>, X509Fault> {
    let mut expired = false;
    let mut usable = Vec::with_capacity(bundle.x509_authorities.len());
    for authority in &bundle.x509_authorities {
        let Ok((_, certificate)) = X509Certificate::from_der(&authority.der) else {
            continue;
        };
        if !may_sign(&certificate) {
            continue;
        }
        let validity = certificate.validity();
        let begun = validity.not_before.timestamp() <= now.0;
        if !begun || validity.not_after.timestamp() < now.0 {
            expired |= begun;
            continue;
        }
        let der = CertificateDer::from(&authority.der[..]);
        if anchor_from_trusted_cert(&der).is_ok() {
            usable.push(der);
        }
    }
    match (usable.is_empty(), expired) {
        (false, _) => Ok(usable),
        (true, true) => Err(X509Fault::Expired),
        (true, false) => Err(X509Fault::NoAuthority(bundle.trust_domain.clone())),
    }
}

pub(crate) fn fault(error: &webpki::Error) -> X509Fault {
    match error {
        webpki::Error::CertExpired { .. } => X509Fault::Expired,
        webpki::Error::CertNotValidYet { .. } => X509Fault::NotYetValid,
        webpki::Error::UnknownIssuer => X509Fault::Path("unknown issuer".into()),
        other => X509Fault::Path(format!("{other:?}")),
    }
}

#[cfg(test)]
#[path = "../tests/verify/kit.rs"]
#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "shared with the integration tests, which need more of it"
)]
mod kit;

/// Both judges, where both can judge.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType};
    use rcgen::{KeyPair, KeyUsagePurpose, date_time_ymd};

    use super::kit::{Ca, DNS, NOW, bundle, ca_params, constraints, leaf_params};
    use super::*;

    /// One thing about a certificate, good or bad.
    fn change(params: &mut CertificateParams, which: u8) {
        match which {
            0 => params.not_after = date_time_ymd(2026, 11, 23),
            1 => params.not_before = date_time_ymd(2026, 11, 25),
            2 => params.is_ca = IsCa::ExplicitNoCa,
            3 => params.is_ca = IsCa::NoCa,
            4 => params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
            5 => params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)),
            6 => params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            7 => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            8 => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            9 => params.use_authority_key_identifier_extension = false,
            10 => params
                .custom_extensions
                .push(constraints(&[(DNS, "f.test")], &[])),
            11 => params
                .custom_extensions
                .push(constraints(&[], &[(DNS, "f.test")])),
            12 => {
                let name = "web.f.test".to_owned().try_into().unwrap();
                params.subject_alt_names.push(SanType::DnsName(name));
            }
            _ => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn both_judges_agree(
            changes in prop::array::uniform4(0_u8..30),
            order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
            shown in 0_usize..5,
            flipped in proptest::option::weighted(0.3, (0_usize..3, any::<prop::sample::Index>())),
        ) {
            let [root, middle, lower, leaf] = changes;
            let ca = |name: &str, which| {
                let mut params = ca_params("f.test", name);
                change(&mut params, which);
                params
            };
            let root = Ca::root(ca("root", root));
            let middle = root.intermediate(ca("middle", middle));
            let lower = middle.intermediate(ca("lower", lower));
            let mut params = leaf_params("spiffe://f.test/web");
            change(&mut params, leaf);
            let mut leaf = lower.leaf(&params);
            let again = root.sign(&ca_params("f.test", "middle"), &KeyPair::generate().unwrap());
            let mut all = [middle.der, lower.der, again, Ca::of("f.test").der];
            if let Some((which, at)) = flipped {
                let der = if which == 2 { &mut leaf } else { &mut all[which] };
                let at = at.index(der.len());
                der[at] ^= 1;
            }
            let shown: Vec<&[u8]> = order.iter().take(shown).map(|at| &all[*at][..]).collect();
            let bundle = bundle("f.test", &[&root.der]);
            if let Ok(parts) = Parts::read(&leaf, &shown, &bundle, NOW) {
                let ours = constrained_path::verify(&parts);
                let webpki = verify_by_webpki(&parts);
                prop_assert_eq!(ours.is_ok(), webpki.is_ok(), "{:?} {:?}", ours, webpki);
            }
        }
    }
}
