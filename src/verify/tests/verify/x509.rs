//! X509-SVID sections 2, 4 and 5, one fault each; RFC 5280 through webpki.

use identity::{Seconds, Timestamp};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use rcgen::{CustomExtension, KeyPair, date_time_ymd};
use verify::{MAX_CHAIN, VerifiedX509, X509Fault, leaf_identity, verify_x509_svid};

use crate::kit::{Ca, NOW, bundle, ca_params, leaf_params, san};

const WEB: &str = "spiffe://f.test/web";

fn check(ca: &Ca, params: &CertificateParams) -> Result<VerifiedX509, X509Fault> {
    let leaf = ca.leaf(params);
    verify_x509_svid(&[&leaf], &bundle("f.test", &[&ca.der]), NOW)
}

/// What a good leaf with one change comes to.
fn with(change: impl FnOnce(&mut CertificateParams)) -> Result<VerifiedX509, X509Fault> {
    let mut params = leaf_params(WEB);
    change(&mut params);
    check(&Ca::of("f.test"), &params)
}

#[test]
fn a_good_leaf_is_accepted_and_read() {
    let verified = with(|_| ()).unwrap();
    assert_eq!(verified.spiffe_id.as_str(), WEB);
    assert_eq!(verified.serial.as_bytes(), [0x2a; 18]);
    assert_eq!(verified.not_after, Timestamp(1_796_083_200));
    let more = with(|p| {
        p.subject_alt_names
            .push(SanType::DnsName("web.example".try_into().unwrap()));
        p.key_usages.push(KeyUsagePurpose::KeyAgreement);
    });
    assert!(
        more.is_ok(),
        "other kinds of names and uses are free: {more:?}"
    );
}

#[test]
fn leaves_without_extended_key_usage_are_accepted() {
    assert!(with(|p| p.extended_key_usages.clear()).is_ok());
}

#[test]
fn exactly_one_uri_names_the_leaf() {
    for second in ["spiffe://f.test/other", "https://x.example/", WEB] {
        let two = |p: &mut CertificateParams| p.subject_alt_names.push(san(second));
        assert_eq!(with(two), Err(X509Fault::UriCount(2)), "{second}");
        let first = |p: &mut CertificateParams| p.subject_alt_names.insert(0, san(second));
        assert_eq!(with(first), Err(X509Fault::UriCount(2)), "{second} first");
    }
    assert_eq!(
        with(|p| p.subject_alt_names.clear()),
        Err(X509Fault::UriCount(0))
    );
    let dns = |p: &mut CertificateParams| {
        p.subject_alt_names = vec![SanType::DnsName("f.test".try_into().unwrap())];
    };
    assert_eq!(with(dns), Err(X509Fault::UriCount(0)));
}

#[test]
fn the_uri_is_a_spiffe_id_with_a_path() {
    let uri = |uri: &'static str| with(move |p| p.subject_alt_names = vec![san(uri)]);
    for bad in [
        "https://f.test/web",
        "spiffe://f.test/",
        "spiffe://F.test/web",
        "spiffe://f.test/a%2Fb",
        "spiffe://f.test/a//b",
        "spiffe://f.test:443/web",
        "spiffe://f.test/web?x",
        "SPIFFE://f.test/web",
    ] {
        assert!(matches!(uri(bad), Err(X509Fault::Id(_))), "{bad}");
    }
    assert!(matches!(uri("spiffe://f.test"), Err(X509Fault::NoPath(_))));
}

#[test]
fn what_can_sign_is_never_a_leaf() {
    let signing = |fault: &Result<VerifiedX509, X509Fault>| {
        matches!(fault, Err(X509Fault::SigningCertificate(_)))
    };
    let unconstrained = IsCa::Ca(BasicConstraints::Unconstrained);
    assert!(signing(&with(|p| p.is_ca = unconstrained)));
    for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        assert!(signing(&with(|p| p.key_usages.push(usage))), "{usage:?}");
    }
    let ca = Ca::of("f.test");
    let as_leaf = verify_x509_svid(&[&ca.der], &bundle("f.test", &[&ca.der]), NOW);
    assert!(matches!(as_leaf, Err(X509Fault::NoPath(_))), "{as_leaf:?}");
}

#[test]
fn both_purposes_or_none() {
    for purpose in [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ] {
        assert_eq!(
            with(|p| p.extended_key_usages = vec![purpose]),
            Err(X509Fault::Purpose)
        );
    }
}

#[test]
fn times_are_checked_on_leaf_intermediate_and_root() {
    let day = |y, m, d| date_time_ymd(y, m, d);
    assert_eq!(
        with(|p| p.not_after = day(2026, 11, 23)),
        Err(X509Fault::Expired)
    );
    assert_eq!(
        with(|p| p.not_before = day(2026, 11, 25)),
        Err(X509Fault::NotYetValid)
    );
    let root = Ca::of("f.test");
    let mut short = ca_params("f.test", "middle");
    short.not_after = day(2026, 11, 23);
    let middle = root.intermediate(short);
    let leaf = middle.leaf(&leaf_params(WEB));
    let verdict = verify_x509_svid(&[&leaf, &middle.der], &bundle("f.test", &[&root.der]), NOW);
    assert_eq!(verdict, Err(X509Fault::Expired));
    let mut old = ca_params("f.test", "root");
    old.not_after = day(2026, 11, 23);
    assert_eq!(
        check(&Ca::root(old), &leaf_params(WEB)),
        Err(X509Fault::Expired)
    );
    let mut future = ca_params("f.test", "root");
    future.not_before = day(2026, 11, 25);
    let verdict = check(&Ca::root(future), &leaf_params(WEB));
    assert!(
        matches!(verdict, Err(X509Fault::NoAuthority(_))),
        "{verdict:?}"
    );
}

#[test]
fn chains_through_intermediates() {
    let root = Ca::of("f.test");
    let middle = root.intermediate(ca_params("f.test", "middle"));
    let lower = middle.intermediate(ca_params("f.test", "lower"));
    let leaf = lower.leaf(&leaf_params(WEB));
    let bundle = bundle("f.test", &[&root.der]);
    let verdict = |chain: &[&[u8]]| verify_x509_svid(chain, &bundle, NOW).map(|_| ());
    assert_eq!(verdict(&[&leaf, &lower.der, &middle.der]), Ok(()));
    assert_eq!(
        verdict(&[&leaf, &middle.der, &lower.der]),
        Ok(()),
        "in any order"
    );
    assert!(verdict(&[&leaf, &lower.der]).is_err(), "one is missing");
    assert!(verdict(&[&leaf]).is_err());
    assert_eq!(verdict(&[]), Err(X509Fault::Empty));
    let many = vec![&leaf[..]; MAX_CHAIN + 1];
    assert!(matches!(verdict(&many), Err(X509Fault::TooLarge(_))));
    let huge = vec![0x30; 70_000];
    assert!(matches!(
        verdict(&[&leaf, &huge]),
        Err(X509Fault::TooLarge(_))
    ));
}

#[test]
fn intermediates_must_be_allowed_to_sign() {
    let root = Ca::of("f.test");
    let verdict = |params: CertificateParams| {
        let middle = root.intermediate(params);
        let leaf = middle.leaf(&leaf_params(WEB));
        verify_x509_svid(&[&leaf, &middle.der], &bundle("f.test", &[&root.der]), NOW).map(|_| ())
    };
    assert_eq!(verdict(ca_params("f.test", "middle")), Ok(()));
    let mut not_a_ca = ca_params("f.test", "middle");
    not_a_ca.is_ca = IsCa::ExplicitNoCa;
    assert!(verdict(not_a_ca).is_err());
    let mut no_cert_sign = ca_params("f.test", "middle");
    no_cert_sign.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert!(verdict(no_cert_sign.clone()).is_err());
    assert!(check(&Ca::root(no_cert_sign), &leaf_params(WEB)).is_err());
    // A path length of zero, and yet another signing certificate below.
    let mut last = ca_params("f.test", "last");
    last.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let last = root.intermediate(last);
    let below = last.intermediate(ca_params("f.test", "below"));
    let leaf = below.leaf(&leaf_params(WEB));
    let chain: [&[u8]; 3] = [&leaf, &below.der, &last.der];
    assert!(verify_x509_svid(&chain, &bundle("f.test", &[&root.der]), NOW).is_err());
}

#[test]
fn only_the_bundle_of_its_own_trust_domain_verifies() {
    let foreign = Ca::of("f.test");
    let ours = Ca::of("td.test");
    // A foreign authority that signs our name.
    let leaf = foreign.leaf(&leaf_params("spiffe://td.test/web"));
    assert!(verify_x509_svid(&[&leaf], &bundle("td.test", &[&ours.der]), NOW).is_err());
    let fault = verify_x509_svid(&[&leaf], &bundle("f.test", &[&foreign.der]), NOW);
    assert!(matches!(fault, Err(X509Fault::OtherTrustDomain { .. })));
    let good = foreign.leaf(&leaf_params(WEB));
    let fault = verify_x509_svid(&[&good], &bundle("f.test", &[]), NOW);
    assert!(matches!(fault, Err(X509Fault::NoAuthority(_))));
    let fault = verify_x509_svid(&[&good], &bundle("f.test", &[b"junk"]), NOW);
    assert!(matches!(fault, Err(X509Fault::NoAuthority(_))));
}

#[test]
fn a_tainted_authority_still_verifies() {
    let ca = Ca::of("f.test");
    let mut bundle = bundle("f.test", &[&ca.der]);
    bundle.x509_authorities[0].tainted = true;
    let leaf = ca.leaf(&leaf_params(WEB));
    assert!(verify_x509_svid(&[&leaf], &bundle, NOW).is_ok());
}

#[test]
fn unknown_critical_extensions_are_refused() {
    let unknown = with(|p| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0x05, 0x00]);
        extension.set_criticality(true);
        p.custom_extensions.push(extension);
    });
    assert!(matches!(unknown, Err(X509Fault::Path(_))), "{unknown:?}");
}

#[test]
fn every_flipped_byte_is_refused() {
    let ca = Ca::of("f.test");
    let bundle = bundle("f.test", &[&ca.der]);
    let leaf = ca.leaf(&leaf_params(WEB));
    for at in 0..leaf.len() {
        let mut bad = leaf.clone();
        bad[at] ^= 1;
        assert!(
            verify_x509_svid(&[&bad], &bundle, NOW).is_err(),
            "byte {at}"
        );
    }
    let mut trailing = leaf;
    trailing.push(0);
    assert_eq!(
        verify_x509_svid(&[&trailing], &bundle, NOW),
        Err(X509Fault::Encoding(0))
    );
}

#[test]
fn clocks_at_the_edges() {
    let ca = Ca::of("f.test");
    let bundle = bundle("f.test", &[&ca.der]);
    let leaf = ca.leaf(&leaf_params(WEB));
    let at = |now| verify_x509_svid(&[&leaf], &bundle, now).map(|_| ());
    let end = leaf_identity(&leaf).unwrap().not_after;
    assert_eq!(at(end), Ok(()));
    assert_eq!(at(end.plus(Seconds(1))), Err(X509Fault::Expired));
    assert!(at(Timestamp(-1)).is_err());
    assert!(at(Timestamp::MAX).is_err());
}

#[test]
fn keys_of_all_types_sign_chains() {
    use keys::{KeyType, generate_pkcs8};
    for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
        let (pkcs8, _) = generate_pkcs8(key_type, &crate::kit::rng()).unwrap();
        let pair = KeyPair::try_from(&pkcs8[..]).unwrap();
        let params = ca_params("f.test", "root");
        let der = params.self_signed(&pair).unwrap().der().to_vec();
        let ca = Ca { params, pair, der };
        assert!(check(&ca, &leaf_params(WEB)).is_ok(), "{key_type}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = leaf_identity(&bytes);
        let _ = verify_x509_svid(&[&bytes, &bytes], &bundle("f.test", &[&bytes]), NOW);
    }
}
