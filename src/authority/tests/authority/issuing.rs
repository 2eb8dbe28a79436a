//! Prepare, record, sign: what is refused on the way, and what comes out.

use std::sync::Arc;
use std::time::Duration;

use authority::{
    AuthorityError, FinishError, IssueError, LeafSubject, ReceiptMismatch, Refused, X509Authority,
};
use identity::{Seconds, Timestamp};
use journal::{Binding, Receipt};
use keys::{KeyType, SignError};
use proptest::prelude::*;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::kit::{
    DAY, HOUR, NOW, Remote, authority, id, issue, prepare, record, serial, signer, subject_key,
    terms, trust_domain, try_prepare,
};

fn webpki_accepts(authority: &X509Authority, leaf: &[u8], at: Timestamp) -> bool {
    let root = CertificateDer::from(&authority.certificate_der()[..]);
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let leaf = CertificateDer::from(leaf);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.0).unwrap()));
    [KeyUsage::client_auth(), KeyUsage::server_auth()]
        .into_iter()
        .all(|usage| {
            let leaf = EndEntityCert::try_from(&leaf).unwrap();
            leaf.verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                &[],
                time,
                usage,
                None,
                None,
            )
            .is_ok()
        })
}

#[test]
fn webpki_accepts_every_combination_of_keys() {
    for issuer in KeyType::ALL {
        let authority = authority(issuer);
        for leaf in KeyType::ALL {
            let svid = issue(&authority, &subject_key(leaf));
            assert_eq!(svid.chain.len(), 1, "no root in the chain");
            assert!(
                webpki_accepts(&authority, &svid.chain[0], NOW),
                "{issuer} {leaf}"
            );
            assert!(!webpki_accepts(&authority, &svid.chain[0], NOW.plus(DAY)));
            let mut broken = svid.chain[0].to_vec();
            let last = broken.len() - 1;
            broken[last] ^= 1;
            assert!(!webpki_accepts(&authority, &broken, NOW));
        }
    }
}

#[test]
fn a_receipt_of_another_record_buys_nothing() {
    let authority = authority(KeyType::EcP256);
    let key = subject_key(KeyType::EcP256);
    for binding in [Binding::NONE, prepare(&authority, &key).binding()] {
        let prepared = prepare(&authority, &key);
        let redeemed = prepared.redeem(Receipt::forged(binding));
        assert_eq!(redeemed.err(), Some(ReceiptMismatch));
    }
}

#[test]
fn what_one_authority_prepared_another_does_not_sign() {
    let key = subject_key(KeyType::EcP256);
    let (one, other) = (authority(KeyType::EcP256), authority(KeyType::EcP256));
    let recorded = record(prepare(&one, &key));
    assert_eq!(other.sign(recorded).err(), Some(IssueError::OtherAuthority));
}

fn remote(answer: fn(Vec<u8>) -> Result<Vec<u8>, SignError>) -> X509Authority {
    let inner = signer(KeyType::EcP256);
    let made = authority(KeyType::EcP256);
    let signer = Arc::new(Remote { inner, answer });
    X509Authority::load(made.certificate_der(), &[], signer, NOW).unwrap()
}

#[test]
fn a_remote_signers_answer_is_not_taken_on_trust() {
    let key = subject_key(KeyType::EcP256);
    let sign = |authority: X509Authority| authority.sign(record(prepare(&authority, &key)));
    assert!(sign(remote(Ok)).is_ok());
    let wrong = remote(|mut signature| {
        let last = signature.len() - 1;
        signature[last] ^= 1;
        Ok(signature)
    });
    let refused = IssueError::Finish(FinishError::DoesNotVerify);
    assert_eq!(sign(wrong).err(), Some(refused));
    let away = remote(|_| Err(SignError::Unavailable("token is locked".into())));
    assert!(matches!(
        sign(away).err(),
        Some(IssueError::Sign(SignError::Unavailable(_)))
    ));
}

#[test]
fn a_signature_of_the_wrong_shape_is_refused() {
    let authority = authority(KeyType::EcP256);
    let key = subject_key(KeyType::EcP256);
    for bad in [&[][..], &[0x30, 0x00], &[7; 64]] {
        let finished = record(prepare(&authority, &key)).finish(bad);
        assert!(finished.is_err());
    }
    let recorded = record(prepare(&authority, &key));
    let signature = signer(KeyType::EcP256).sign(recorded.bytes()).unwrap();
    assert!(recorded.finish(&signature).is_ok());
}

#[test]
fn the_profile_refuses_what_no_leaf_may_have() {
    let authority = authority(KeyType::EcP256);
    let key = subject_key(KeyType::EcP256);
    let refused = |id: &str, dns: &[&str]| {
        let names: Vec<String> = dns.iter().map(|n| (*n).to_owned()).collect();
        try_prepare(&authority, id, &names, &key).unwrap_err()
    };
    let web = "spiffe://example.org/web";
    assert!(matches!(
        refused("spiffe://other.org/web", &[]),
        Refused::OtherTrustDomain { .. }
    ));
    assert!(matches!(
        refused("spiffe://example.org", &[]),
        Refused::NoPath(_)
    ));
    for name in [
        "",
        "a b",
        "a..b",
        "a.",
        "é.example",
        "*",
        "*.",
        "a\0b",
        "x@y",
        "a.*.b",
    ] {
        assert!(
            matches!(refused(web, &[name]), Refused::DnsName { .. }),
            "{name:?}"
        );
    }
    let many = vec!["a.example"; 65];
    assert!(matches!(refused(web, &many), Refused::TooManyDnsNames(65)));
    let own = authority::SubjectKey::from_spki(authority.public_key().spki_der()).unwrap();
    assert!(matches!(
        try_prepare(&authority, web, &[], &own).unwrap_err(),
        Refused::AuthorityKey
    ));
}

#[test]
fn time_outside_the_authority_is_refused() {
    let authority = authority(KeyType::EcP256);
    let key = subject_key(KeyType::EcP256);
    let spiffe_id = id("spiffe://example.org/web");
    let subject = LeafSubject {
        spiffe_id: &spiffe_id,
        dns_names: &[],
    };
    let at = |now, ttl| {
        let prepared = authority.prepare(&subject, &key, ttl, serial(), now);
        prepared.map(|p| (p.not_before(), p.not_after()))
    };
    assert_eq!(at(NOW, Seconds(0)), Err(Refused::NoLifetime));
    let end = authority.not_after();
    assert_eq!(
        at(end, HOUR),
        Err(Refused::AuthorityExpired { not_after: end })
    );
    let begin = authority.not_before();
    assert_eq!(at(begin.minus(Seconds(1)), HOUR), Err(Refused::Clock));
    assert_eq!(at(begin, HOUR), Ok((begin, begin.plus(HOUR))));
    assert_eq!(
        at(NOW, Seconds(u32::MAX)),
        Ok((NOW.minus(Seconds(60)), end))
    );
}

proptest! {
    /// I3: no SVID outlives its authority, nor begins before it.
    #[test]
    fn nothing_outlives_its_signer(
        lifetime in 1_u32..1_000_000,
        later in 0_u32..1_000_000,
        ttl in 0_u32..2_000_000,
    ) {
        let terms = terms(NOW, Seconds(lifetime));
        let signer = signer(KeyType::EcP256);
        let authority = X509Authority::create_self_signed(&trust_domain(), signer, &terms).unwrap();
        let spiffe_id = id("spiffe://example.org/web");
        let subject = LeafSubject { spiffe_id: &spiffe_id, dns_names: &[] };
        let key = subject_key(KeyType::EcP256);
        let now = NOW.plus(Seconds(later));
        match authority.prepare(&subject, &key, Seconds(ttl), serial(), now) {
            Ok(prepared) => {
                prop_assert!(prepared.not_after() <= authority.not_after());
                prop_assert!(prepared.not_before() >= authority.not_before());
                prop_assert!(prepared.not_before() <= now && now < prepared.not_after());
            }
            Err(_) => prop_assert!(ttl == 0 || later >= lifetime),
        }
    }
}

#[test]
fn an_authority_comes_back_from_its_certificate_and_key_alone() {
    for key_type in KeyType::ALL {
        let made = authority(key_type);
        let der = made.certificate_der();
        let loaded = X509Authority::load(der, &[], signer(key_type), NOW).unwrap();
        assert_eq!(loaded.id(), made.id());
        assert_eq!(loaded.id().len(), 40);
        assert_eq!(loaded.trust_domain(), &trust_domain());
        assert_eq!(loaded.not_after(), NOW.plus(DAY));
        assert_eq!(loaded.not_before(), NOW.minus(Seconds(60)));
    }
}

#[test]
fn certificates_that_are_no_authority_are_refused() {
    let made = authority(KeyType::EcP256);
    let der = made.certificate_der();
    let load =
        |der: &[u8], now| X509Authority::load(der, &[], signer(KeyType::EcP256), now).map(|_| ());
    let other = X509Authority::load(der, &[], signer(KeyType::EcP384), NOW).map(|_| ());
    assert_eq!(other, Err(AuthorityError::OtherKey));
    assert_eq!(
        load(der, NOW.plus(DAY)),
        Err(AuthorityError::Expired(NOW.plus(DAY)))
    );
    assert!(matches!(
        load(der, NOW.minus(DAY)),
        Err(AuthorityError::NotYetValid(_))
    ));
    let mut trailing = der.to_vec();
    trailing.push(0);
    assert!(matches!(
        load(&trailing, NOW),
        Err(AuthorityError::Encoding(_))
    ));
    let mut forged = der.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(matches!(
        load(&forged, NOW),
        Err(AuthorityError::Encoding(_))
    ));
    assert!(matches!(load(b"", NOW), Err(AuthorityError::Encoding(_))));
    // A leaf over the authority's own key cannot be had from us; any leaf will do
    // to see that keys are compared before anything else.
    let leaf = issue(&made, &subject_key(KeyType::EcP256));
    assert_eq!(load(&leaf.chain[0], NOW), Err(AuthorityError::OtherKey));
}
