//! What proves a node, and what does not.

use contract::{Prove, ProveStep, advance, battery};
use identity::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use ring::rand::SystemRandom;
use x509_parser::prelude::FromDer as _;

use super::*;
use crate::test_pki::Ca;
use crate::{MAX_CERTIFICATES, NodeCertificate, NodeCertificateError, X509PopProver};

/// Within the validity of every certificate here (rcgen's defaults).
const NOW: Timestamp = Timestamp(1_795_500_000);

#[expect(clippy::disallowed_methods, reason = "keys of a test")]
fn random() -> SystemRandom {
    SystemRandom::new()
}

fn verifier(root: &Ca) -> X509PopVerifier {
    X509PopVerifier::new(root.roots(), TrustDomain::parse("example.org").unwrap())
}

fn prover(chain: &str, key: &KeyPair) -> X509PopProver {
    let key = key.serialize_pem();
    let certificate = NodeCertificate::from_pem(chain.as_bytes(), key.as_bytes(), &random());
    X509PopProver::new(certificate.unwrap(), random())
}

/// Runs a whole attestation.
fn attest(prover: &mut dyn Prove, verifier: &X509PopVerifier) -> Result<Facts, VerifyError> {
    let host = battery::CountingHost::default();
    let mut exchange = Exchange::new();
    let first = prover.prove(ProveStep::Start).unwrap();
    match advance(verifier, first.as_bytes(), &mut exchange, NOW, &host)? {
        Verdict::Challenge(challenge) => {
            let answer = prover.prove(ProveStep::Challenge(&challenge)).unwrap();
            match advance(verifier, answer.as_bytes(), &mut exchange, NOW, &host)? {
                Verdict::Facts(facts) => Ok(facts),
                Verdict::Challenge(_) => panic!("a second challenge"),
            }
        }
        Verdict::Facts(_) => panic!("facts without a challenge"),
    }
}

/// The answer to certificates alone.
fn present(verifier: &X509PopVerifier, certificates: Vec<Vec<u8>>) -> Result<Verdict, VerifyError> {
    let presented = Presented {
        certificates: certificates.into_iter().map(Bytes).collect(),
    };
    let evidence = serde_json::to_vec(&presented).unwrap();
    let host = battery::CountingHost::default();
    advance(verifier, &evidence, &mut Exchange::new(), NOW, &host)
}

#[test]
fn passes_the_battery() {
    let root = Ca::root("root");
    let key = KeyPair::generate().unwrap();
    let (pem, _) = root.node(&key, |_| {});
    let make = || -> Box<dyn Prove> { Box::new(prover(&pem, &key)) };
    battery::node(&make, &verifier(&root), NOW);
}

#[test]
fn facts_name_the_certificate_and_the_cas_above_it() {
    let root = Ca::root("root");
    let between = root.under("between");
    let key = KeyPair::generate().unwrap();
    let (pem, der) = between.node(&key, |_| {});
    let chain = format!("{pem}{}", between.0.pem());
    let facts = attest(&mut prover(&chain, &key), &verifier(&root)).unwrap();
    assert_eq!(facts.node_key.as_str(), chain::fingerprint(&der));
    assert_eq!(facts.node_key.as_str().len(), 40);
    assert!(facts.can_reattest && facts.consume.is_none());
    let mut expected = vec![
        format!("x509pop:ca:fingerprint:{}", chain::fingerprint(&root.der())),
        format!(
            "x509pop:ca:fingerprint:{}",
            chain::fingerprint(&between.der())
        ),
        "x509pop:serialnumber:0a1b".to_owned(),
        "x509pop:san:rack:b/12".to_owned(),
        "x509pop:subject:cn:node-1".to_owned(),
    ];
    expected.sort();
    let mut selectors: Vec<_> = facts.selectors.iter().map(ToString::to_string).collect();
    selectors.sort();
    assert_eq!(selectors, expected);
}

#[test]
fn a_chain_that_leads_elsewhere_gets_no_challenge() {
    let (root, other) = (Ca::root("root"), Ca::root("root"));
    let key = KeyPair::generate().unwrap();
    let (_, foreign) = other.node(&key, |_| {});
    let (_, no_usage) = root.node(&key, |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    });
    let (_, expired) = root.node(&key, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let leaf_as_ca = {
        let holder = KeyPair::generate().unwrap();
        let (_, middle) = root.node(&holder, |_| {});
        let issuer = rcgen::Issuer::new(CertificateParams::default(), holder);
        let mut params = CertificateParams::default();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let leaf = params.signed_by(&key, &issuer).unwrap();
        vec![leaf.der().to_vec(), middle]
    };
    let verifier = verifier(&root);
    for chain in [vec![foreign], vec![no_usage], vec![expired], leaf_as_ca] {
        let refused = present(&verifier, chain);
        assert!(
            matches!(refused, Err(VerifyError::Refused(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn an_expired_root_counts_for_nothing() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().unwrap();
    let root = Ca(rcgen::CertifiedIssuer::self_signed(params, key).unwrap());
    let node = KeyPair::generate().unwrap();
    let (_, der) = root.node(&node, |_| {});
    let refused = present(&verifier(&root), vec![der]);
    assert!(
        matches!(refused, Err(VerifyError::Refused(_))),
        "{refused:?}"
    );
}

#[test]
fn sizes_are_bounded_before_any_signature_is_checked() {
    let root = Ca::root("root");
    let key = KeyPair::generate().unwrap();
    let (_, der) = root.node(&key, |_| {});
    let verifier = verifier(&root);
    let many = vec![der.clone(); MAX_CERTIFICATES + 1];
    assert!(matches!(
        present(&verifier, many),
        Err(VerifyError::Malformed(_))
    ));
    assert!(matches!(
        present(&verifier, vec![]),
        Err(VerifyError::Malformed(_))
    ));
    // Keys too small, too large, with an exponent that makes verifying dear, or of a
    // kind nobody here verifies: the modulus is never looked into.
    for (bits, exponent) in [(1024, "010001"), (8192, "010001"), (2048, "0200000001")] {
        let spki = crate::test_keys::rsa_spki(bits, exponent);
        let parsed = x509_parser::x509::SubjectPublicKeyInfo::from_der(&spki);
        let refused = crate::key::read(&parsed.unwrap().1);
        assert!(refused.is_err(), "{bits} bits, exponent {exponent}");
    }
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (_, der) = root.node(&ed25519, |_| {});
    assert!(matches!(
        present(&verifier, vec![der]),
        Err(VerifyError::Refused(_))
    ));
}

/// A prover that shows one certificate and signs with another key.
struct Impostor(X509PopProver, X509PopProver);

impl Prove for Impostor {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn prove(&mut self, step: ProveStep<'_>) -> Result<contract::Evidence, contract::ProveError> {
        match step {
            ProveStep::Start => self.0.prove(step),
            ProveStep::Challenge(_) => self.1.prove(step),
        }
    }
}

#[test]
fn a_stolen_certificate_without_its_key_proves_nothing() {
    let root = Ca::root("root");
    let [victim, thief] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let shown = prover(&root.node(&victim, |_| {}).0, &victim);
    let signs = prover(&root.node(&thief, |_| {}).0, &thief);
    let refused = attest(&mut Impostor(shown, signs), &verifier(&root));
    assert!(
        matches!(refused, Err(VerifyError::Refused(_))),
        "{refused:?}"
    );
}

#[test]
fn an_answer_serves_one_challenge() {
    let root = Ca::root("root");
    let key = KeyPair::generate().unwrap();
    let mut prover = prover(&root.node(&key, |_| {}).0, &key);
    let verifier = verifier(&root);
    let host = battery::CountingHost::default();
    let first = prover.prove(ProveStep::Start).unwrap();
    let mut challenges = [(); 2].map(|()| {
        let mut exchange = Exchange::new();
        match advance(&verifier, first.as_bytes(), &mut exchange, NOW, &host) {
            Ok(Verdict::Challenge(challenge)) => (challenge, exchange),
            other => panic!("{other:?}"),
        }
    });
    let answer = prover
        .prove(ProveStep::Challenge(&challenges[0].0))
        .unwrap();
    let replayed = advance(
        &verifier,
        answer.as_bytes(),
        &mut challenges[1].1,
        NOW,
        &host,
    );
    assert!(
        matches!(replayed, Err(VerifyError::Refused(_))),
        "{replayed:?}"
    );
    let honest = advance(
        &verifier,
        answer.as_bytes(),
        &mut challenges[0].1,
        NOW,
        &host,
    );
    assert!(matches!(honest, Ok(Verdict::Facts(_))), "{honest:?}");
}

#[test]
fn rsa_keys_prove_too_with_a_salt_of_any_length() {
    let root = Ca::root("root");
    let key = crate::test_keys::rsa();
    let (pem, _) = root.node(&key, |_| {});
    attest(&mut prover(&pem, &key), &verifier(&root)).unwrap();
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused_at_once() {
    let root = Ca::root("root");
    let [one, other] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let (pem, _) = root.node(&one, |_| {});
    let read = |pem: &str, key: &str| {
        NodeCertificate::from_pem(pem.as_bytes(), key.as_bytes(), &random()).err()
    };
    let other = other.serialize_pem();
    assert_eq!(read(&pem, &other), Some(NodeCertificateError::Mismatch));
    assert_eq!(read(&pem, "nothing"), Some(NodeCertificateError::Key));
    assert_eq!(read("", &other), Some(NodeCertificateError::NoCertificate));
}

proptest::proptest! {
    #[test]
    fn no_evidence_panics(evidence in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let root = Ca::root("root");
        let mut exchange = Exchange::new();
        let host = battery::CountingHost::default();
        let first = advance(&verifier(&root), &evidence, &mut exchange, NOW, &host);
        proptest::prop_assert!(first.is_err());
        exchange.notes.extend(&evidence);
        let second = advance(&verifier(&root), &evidence, &mut exchange, NOW, &host);
        proptest::prop_assert!(second.is_err());
    }
}
