//! Intermediates under a CA above, and authorities of servers below: OpenSSL accepts
//! what was signed, and what is wrong with a CA is said before it signs anything.

use std::sync::Arc;

use authority::upstream::{UpstreamCa, UpstreamFault, granted};
use authority::{Refused, SubjectKey, X509Authority};
use identity::{Seconds, Timestamp, TrustDomain};
use journal::Receipt;
use keys::{KeyType, MemorySigner, Signer};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};

use crate::kit::{DAY, HOUR, NOW, authority, issue, serial, signer, subject_key, trust_domain};
use crate::openssl::verify;

fn params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "CA of somebody");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2036, 1, 1);
    change(&mut params);
    params
}

struct Ca {
    der: Vec<u8>,
    signer: Arc<dyn Signer>,
}

fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Ca {
    let key = KeyPair::generate().unwrap();
    let der = params(change).self_signed(&key).unwrap().der().to_vec();
    let signer = Arc::new(MemorySigner::from_pkcs8(key.serialized_der()).unwrap());
    Ca { der, signer }
}

fn check(ca: &Ca) -> Result<UpstreamCa, UpstreamFault> {
    let roots = [&ca.der[..]];
    UpstreamCa::check(&roots, &roots, Arc::clone(&ca.signer), &trust_domain(), NOW)
}

/// The intermediate that a CA signs for this test's key.
fn intermediate(ca: &UpstreamCa, lifetime: Seconds, levels: u32) -> Vec<Arc<[u8]>> {
    let key = SubjectKey::from_spki(signer(KeyType::EcP256).public_key().spki_der()).unwrap();
    let prepared = ca.prepare(&key, lifetime, serial(), NOW, levels).unwrap();
    let receipt = Receipt::forged(prepared.binding());
    ca.sign(prepared.redeem(receipt).unwrap()).unwrap()
}

fn slices(chain: &[Arc<[u8]>]) -> Vec<&[u8]> {
    chain.iter().map(|der| &**der).collect()
}

fn load(chain: &[Arc<[u8]>]) -> X509Authority {
    let chain = slices(chain);
    X509Authority::load(chain[0], &chain[1..], signer(KeyType::EcP256), NOW).unwrap()
}

#[test]
fn openssl_follows_leaf_and_intermediate_to_the_upstreams_root() {
    let root_key = KeyPair::generate().unwrap();
    let root_params = params(|_| {});
    let root = root_params.self_signed(&root_key).unwrap().der().to_vec();
    let key = KeyPair::generate().unwrap();
    let issuing = params(|p| {
        p.distinguished_name
            .push(DnType::OrganizationName, "Issuing");
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
        p.use_authority_key_identifier_extension = true;
    });
    let issuing = issuing.signed_by(&key, &Issuer::from_params(&root_params, &root_key));
    let issuing = issuing.unwrap().der().to_vec();
    let upper: Arc<dyn Signer> = Arc::new(MemorySigner::from_pkcs8(key.serialized_der()).unwrap());
    let ca = UpstreamCa::check(&[&issuing], &[&root], upper, &trust_domain(), NOW).unwrap();
    let chain = intermediate(&ca, DAY, 1);
    assert_eq!(chain.len(), 2, "the root does not travel");
    let own = signer(KeyType::EcP256);
    let got = granted(&slices(&chain), &[&root], &own, &trust_domain(), NOW).unwrap();
    assert_eq!(*got.anchor, *root);
    assert_eq!(got.not_after, NOW.plus(DAY));
    let ours = load(&chain);
    assert_eq!(got.id, ours.id());
    let svid = issue(&ours, &subject_key(KeyType::EcP256));
    assert_eq!(svid.chain.len(), 3);
    let folder = tempfile::tempdir().unwrap();
    verify(folder.path(), &root.into(), &svid.chain).unwrap();
}

#[test]
fn a_downstream_servers_authority_verifies_and_has_nothing_below_it() {
    let top = authority(KeyType::EcP384);
    let below = signer(KeyType::EcP256);
    let key = SubjectKey::from_spki(below.public_key().spki_der()).unwrap();
    let prepared = top
        .prepare_downstream(&key, HOUR, serial(), NOW, 0)
        .unwrap();
    let receipt = Receipt::forged(prepared.binding());
    let chain = top
        .sign_downstream(prepared.redeem(receipt).unwrap())
        .unwrap();
    assert_eq!(chain.len(), 1);
    let nested = load(&chain);
    assert_eq!(nested.trust_domain(), &trust_domain());
    let svid = issue(&nested, &subject_key(KeyType::EcP256));
    let folder = tempfile::tempdir().unwrap();
    verify(folder.path(), top.certificate_der(), &svid.chain).unwrap();
    let other = subject_key(KeyType::EcP384);
    let refused = nested.prepare_downstream(&other, HOUR, serial(), NOW, 1);
    assert_eq!(refused.unwrap_err(), Refused::NoRoom);
}

#[test]
fn the_record_of_another_certificate_gives_no_bytes() {
    let top = authority(KeyType::EcP256);
    let key = subject_key(KeyType::EcP256);
    let one = top
        .prepare_downstream(&key, HOUR, serial(), NOW, 0)
        .unwrap();
    let two = top
        .prepare_downstream(&key, HOUR, serial(), NOW, 0)
        .unwrap();
    assert!(one.redeem(Receipt::forged(two.binding())).is_err());
    let own = SubjectKey::from_spki(top.public_key().spki_der()).unwrap();
    let refused = top.prepare_downstream(&own, HOUR, serial(), NOW, 0);
    assert_eq!(refused.unwrap_err(), Refused::AuthorityKey);
}

#[test]
fn lifetimes_end_with_the_ca_above_and_path_lengths_shrink() {
    let ca = self_signed(|p| {
        p.not_after = date_time_ymd(1970, 1, 1)
            + std::time::Duration::from_secs(u64::try_from(NOW.0).unwrap() + 600);
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    });
    let chain = intermediate(&check(&ca).unwrap(), DAY, 4);
    let ours = load(&chain);
    assert_eq!(ours.not_after(), Timestamp(NOW.0 + 600));
    let key = subject_key(KeyType::EcP384);
    // The CA's path length of 1 is used up by this server's own intermediate.
    let refused = ours.prepare_downstream(&key, HOUR, serial(), NOW, 4);
    assert_eq!(refused.unwrap_err(), Refused::NoRoom);
    let capped = load(&chain).ending_by(Timestamp(NOW.0 + 60));
    assert_eq!(issue(&capped, &key).not_after, Timestamp(NOW.0 + 60));
}

fn constrained(permit: &[GeneralSubtree], exclude: &[GeneralSubtree]) -> Ca {
    self_signed(|p| {
        p.name_constraints = Some(NameConstraints {
            permitted_subtrees: permit.to_vec(),
            excluded_subtrees: exclude.to_vec(),
        });
    })
}

#[test]
fn what_is_wrong_with_a_ca_is_said() {
    let refusal = |ca: &Ca| check(ca).expect_err("it was accepted").to_string();
    let good = self_signed(|_| {});
    assert!(check(&good).is_ok());
    let stranger = Ca {
        der: good.der.clone(),
        signer: signer(KeyType::EcP256),
    };
    assert!(refusal(&stranger).contains("private key"));
    for (change, said) in [
        (
            (|p| p.is_ca = IsCa::ExplicitNoCa) as fn(&mut CertificateParams),
            "not a CA's",
        ),
        (
            |p| p.key_usages = vec![KeyUsagePurpose::CrlSign],
            "may not sign",
        ),
        (
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
            "path length of at least 1",
        ),
        (|p| p.not_after = date_time_ymd(2026, 2, 1), "expired"),
        (
            |p| p.not_before = date_time_ymd(2030, 1, 1),
            "not valid before",
        ),
        (
            |p| {
                let mut extension =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
                extension.set_criticality(true);
                p.custom_extensions.push(extension);
            },
            "critical extension",
        ),
    ] {
        let said_of_it = refusal(&self_signed(change));
        assert!(said_of_it.contains(said), "{said_of_it}");
    }
    let other = self_signed(|_| {});
    let trust = trust_domain();
    let lost = UpstreamCa::check(&[&good.der], &[&other.der], good.signer, &trust, NOW);
    assert_eq!(lost.err(), Some(UpstreamFault::NoPath(1)));
}

#[test]
fn name_constraints_are_held_against_the_trust_domain() {
    let dns = GeneralSubtree::DnsName("example.org".into());
    assert!(
        check(&constrained(&[dns], &[])).is_ok(),
        "DNS names are the entries' matter"
    );
    let directory = GeneralSubtree::DirectoryName(DistinguishedName::new());
    assert!(matches!(
        check(&constrained(&[directory], &[])),
        Err(UpstreamFault::NameConstraints(1, _))
    ));
    // rcgen knows no URI constraints: permittedSubtrees [0] { [6] "…" }, by hand.
    for (host, domain, good) in [
        ("example.org", "example.org", true),
        ("example.com", "example.org", false),
        (".example.org", "prod.example.org", true),
    ] {
        let ca = self_signed(|p| {
            let mut subtree = vec![0x86, u8::try_from(host.len()).unwrap()];
            subtree.extend(host.as_bytes());
            for tag in [0x30, 0xa0, 0x30] {
                let len = u8::try_from(subtree.len()).unwrap();
                subtree.splice(0..0, [tag, len]);
            }
            let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], subtree);
            extension.set_criticality(true);
            p.custom_extensions.push(extension);
        });
        let trust_domain = TrustDomain::parse(domain).unwrap();
        let roots = [&ca.der[..]];
        let checked = UpstreamCa::check(&roots, &roots, ca.signer, &trust_domain, NOW);
        assert_eq!(checked.is_ok(), good, "{host} {domain}");
    }
}

#[test]
fn an_upstreams_answer_is_checked_before_it_is_used() {
    let ca = self_signed(|_| {});
    let chain = intermediate(&check(&ca).unwrap(), DAY, 0);
    let own = signer(KeyType::EcP256);
    let ask = |roots: &[&[u8]], own: &Arc<dyn Signer>, domain: &str| {
        let domain = TrustDomain::parse(domain).unwrap();
        granted(&slices(&chain), roots, own, &domain, NOW)
    };
    assert!(ask(&[&ca.der], &own, "example.org").is_ok());
    assert_eq!(ask(&[], &own, "example.org"), Err(UpstreamFault::NoRoot));
    let stranger = self_signed(|_| {});
    assert!(ask(&[&stranger.der], &own, "example.org").is_err());
    let other_key = signer(KeyType::EcP384);
    assert!(ask(&[&ca.der], &other_key, "example.org").is_err());
    assert!(ask(&[&ca.der], &own, "example.com").is_err());
}
