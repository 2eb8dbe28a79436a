//! Certificates, requests and public keys.

use std::sync::{Arc, OnceLock};

use authority::SubjectKey;
use authority::upstream::UpstreamCa;
use identity::{Bundle, Timestamp, TrustDomain, X509AuthorityCertificate};
use keys::{KeyType, MemorySigner, PublicKey, Signer};

use super::{Target, judged};
use crate::corpus;

const NOW: Timestamp = Timestamp(1_795_507_200);

/// Object identifiers and lengths that certificates hold.
const WORDS: &[&[u8]] = &[
    b"\x06\x03\x55\x1d\x11",
    b"\x06\x03\x55\x1d\x13",
    b"\x06\x03\x55\x1d\x1e",
    b"\x06\x03\x55\x1d\x0f",
    b"\x30\x80",
    b"\x30\x84\xff\xff\xff\xff",
    b"\x30\x82",
    b"\x86\x10spiffe://f.test/w",
    b"\x02\x01\x00",
    b"\x01\x01\xff",
];

pub(crate) const CHAIN: Target = Target {
    name: "certificate_chain",
    reads: "X.509 chains of TLS peers, of /v1/check and of the crate verify",
    seeds: || {
        let names = [
            "good.pem",
            "gap.pem",
            "excluded.pem",
            "constraint-on-dns.pem",
        ];
        names.iter().map(|name| chain(name).concat()).collect()
    },
    words: WORDS,
    generate: None,
    run: |bytes| {
        let mut bundle = Bundle::empty(TrustDomain::parse("f.test").unwrap());
        let authority = |der: Vec<u8>| X509AuthorityCertificate {
            der: der.into(),
            tainted: false,
        };
        bundle.x509_authorities = chain("good.roots.pem").into_iter().map(authority).collect();
        let certificates = split(bytes);
        [
            judged(verify::leaf_identity(bytes)),
            judged(verify::verify_x509_svid(&certificates, &bundle, NOW)),
        ]
        .join("; ")
    },
};

pub(crate) const REQUEST: Target = Target {
    name: "certificate_request",
    reads: "CSRs of agents, administrators and downstream servers",
    seeds: || {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["web.example.org".into()]).unwrap();
        parameters.subject_alt_names.push(rcgen::SanType::URI(
            "spiffe://example.org/web".try_into().unwrap(),
        ));
        let request = parameters.serialize_request(&key).unwrap();
        vec![request.der().to_vec()]
    },
    words: WORDS,
    generate: None,
    run: |bytes| judged(SubjectKey::from_csr(bytes)),
};

pub(crate) const PUBLIC_KEY: Target = Target {
    name: "public_key",
    reads: "public keys that agents and downstream servers send",
    seeds: || {
        [KeyType::EcP256, KeyType::Rsa2048]
            .iter()
            .map(|kind| signer(*kind).public_key().spki_der().to_vec())
            .collect()
    },
    words: WORDS,
    generate: None,
    run: |bytes| {
        [
            judged(PublicKey::from_spki(bytes)),
            judged(SubjectKey::from_spki(bytes)),
        ]
        .join("; ")
    },
};

pub(crate) const UPSTREAM: Target = Target {
    name: "upstream_ca",
    reads: "certificates of an upstream authority, and those that it answers with",
    seeds: || vec![chain("good.roots.pem").concat(), chain("good.pem").concat()],
    words: WORDS,
    generate: None,
    run: |bytes| {
        static SIGNER: OnceLock<Arc<dyn Signer>> = OnceLock::new();
        let signer = SIGNER.get_or_init(|| Arc::new(signer(KeyType::EcP256)));
        let trust_domain = TrustDomain::parse("f.test").unwrap();
        let certificates = split(bytes);
        let signer = Arc::clone(signer);
        let checked = UpstreamCa::check(&certificates, &certificates, signer, &trust_domain, NOW);
        judged(checked)
    },
};

fn signer(kind: KeyType) -> MemorySigner {
    MemorySigner::generate(kind, &ring::rand::SystemRandom::new()).unwrap()
}

/// The certificates of a file in the corpus.
fn chain(name: &str) -> Vec<Vec<u8>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let pem = corpus::file(&format!("chains/{name}"));
    let ders = CertificateDer::pem_slice_iter(&pem);
    ders.map(|der| der.unwrap().to_vec()).collect()
}

/// Certificates one after another, as their own lengths part them.
fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((_, rest)) = keys::der::take(bytes, 0x30)
        && parts.len() < 20
    {
        let (part, left) = bytes.split_at(bytes.len() - rest.len());
        parts.push(part);
        bytes = left;
    }
    if !bytes.is_empty() {
        parts.push(bytes);
    }
    parts
}
