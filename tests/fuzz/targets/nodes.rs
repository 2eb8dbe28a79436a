//! What a node that nobody knows yet sends to be attested.

use contract::{Exchange, HostError, VerifyHost, advance};
use identity::{Timestamp, TrustDomain};
use join_token::JoinTokenVerifier;
use x509_pop::{Roots, X509PopVerifier};

use super::{Target, judged};
use crate::corpus;

const NOW: Timestamp = Timestamp(1_795_507_200);

struct Host;

impl VerifyHost for Host {
    fn random(&self, out: &mut [u8]) -> Result<(), HostError> {
        out.fill(7);
        Ok(())
    }
}

pub(crate) const X509_POP: Target = Target {
    name: "x509pop_evidence",
    reads: "evidence of the x509pop attestor: a chain, then an answer to a challenge",
    seeds: || {
        let pem = corpus::file("chains/good.pem");
        let text = String::from_utf8(pem).unwrap();
        let certificates: Vec<String> = text
            .split("-----END CERTIFICATE-----")
            .filter_map(|part| part.split("-----BEGIN CERTIFICATE-----").nth(1))
            .map(|part| part.split_whitespace().collect())
            .collect();
        let evidence = serde_json::json!({ "certificates": certificates });
        let answer = serde_json::json!({
            "nonce": "AAAA", "ecdsa_signature": {"r": "AAAA", "s": "AAAA"},
            "rsa_signature": {"signature": "AAAA"},
        });
        vec![
            evidence.to_string().into_bytes(),
            answer.to_string().into_bytes(),
        ]
    },
    words: &[
        b"\"certificates\":[",
        b"\"nonce\":",
        b"\"MII",
        b"\",\"",
        b"\\u0000",
    ],
    generate: None,
    run: |bytes| {
        let roots = Roots::from_pem(&corpus::file("chains/good.roots.pem")).unwrap();
        let verifier = X509PopVerifier::new(roots, TrustDomain::parse("f.test").unwrap());
        let mut exchange = Exchange::new();
        let first = judged(advance(&verifier, bytes, &mut exchange, NOW, &Host));
        let second = judged(advance(&verifier, bytes, &mut exchange, NOW, &Host));
        format!("{first}; {second}")
    },
};

pub(crate) const JOIN_TOKEN: Target = Target {
    name: "join_token_evidence",
    reads: "join tokens that strangers present",
    seeds: || {
        vec![
            b"2f6a8f3e-7c55-4f3a-9a2c-1d7c4b9a0e11".to_vec(),
            b"a".repeat(64),
        ]
    },
    words: &[b"-", b"\0", b"\n"],
    generate: None,
    run: |bytes| {
        let verifier = JoinTokenVerifier;
        let mut exchange = Exchange::new();
        judged(advance(&verifier, bytes, &mut exchange, NOW, &Host))
    },
};
