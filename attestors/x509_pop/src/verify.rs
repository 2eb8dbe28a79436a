//! The server's half.

use contract::{Exchange, Facts, Limits, NodeKey, Verdict, Verify, VerifyError, VerifyHost};
use identity::{Timestamp, TrustDomain};

use crate::wire::{Answer, Bytes, Challenge, Nonce, Presented};
use crate::{KIND, MAX_CHAIN_BYTES, NONCE_BYTES, Roots, chain};

/// Base64 of the largest chain, and the JSON around it.
const EVIDENCE_BYTES: usize = MAX_CHAIN_BYTES / 3 * 4 + 1024;

/// Verifies nodes by certificates that lead to the operator's roots.
#[derive(Debug)]
pub struct X509PopVerifier {
    roots: Roots,
    trust_domain: TrustDomain,
}

impl X509PopVerifier {
    /// A verifier for one set of roots. The trust domain is the one whose name URI
    /// names of certificates carry when they become selectors.
    #[must_use]
    pub const fn new(roots: Roots, trust_domain: TrustDomain) -> Self {
        Self {
            roots,
            trust_domain,
        }
    }

    /// Checks the chain and makes a challenge.
    fn challenge(
        &self,
        evidence: &[u8],
        state: &mut Exchange,
        now: Timestamp,
        host: &dyn VerifyHost,
    ) -> Result<Verdict, VerifyError> {
        let presented: Presented = serde_json::from_slice(evidence)
            .map_err(|_unreadable| VerifyError::Malformed("it is no list of certificates"))?;
        let certificates: Vec<Vec<u8>> = presented
            .certificates
            .into_iter()
            .map(|Bytes(der)| der)
            .collect();
        let key = chain::bound(&certificates)?;
        let _cas = chain::check(&certificates, &self.roots, now)?;
        let mut nonce = [0; NONCE_BYTES];
        host.random(&mut nonce)
            .map_err(|error| VerifyError::Unavailable(error.to_string()))?;
        state.notes.clear();
        state.notes.extend(nonce);
        for der in &certificates {
            let length = u32::try_from(der.len()).unwrap_or(u32::MAX);
            state.notes.extend(length.to_be_bytes());
            state.notes.extend(der);
        }
        state.claimed = Some(node_key(&certificates)?);
        let nonce = Nonce {
            nonce: Bytes(nonce.to_vec()),
        };
        let challenge = if matches!(key, crate::key::NodeKeyKind::Rsa { .. }) {
            Challenge {
                rsa_signature: Some(nonce),
                ecdsa_signature: None,
            }
        } else {
            Challenge {
                rsa_signature: None,
                ecdsa_signature: Some(nonce),
            }
        };
        serde_json::to_vec(&challenge)
            .map(Verdict::Challenge)
            .map_err(|error| VerifyError::Unavailable(error.to_string()))
    }

    /// Checks the signature over both nonces.
    fn conclude(
        &self,
        evidence: &[u8],
        notes: &[u8],
        now: Timestamp,
    ) -> Result<Verdict, VerifyError> {
        let answer: Answer = serde_json::from_slice(evidence)
            .map_err(|_unreadable| VerifyError::Malformed("it is no answer to the challenge"))?;
        let Some((nonce, certificates)) = recall(notes) else {
            return Err(VerifyError::Unavailable("the challenge is lost".to_owned()));
        };
        let key = chain::bound(&certificates)?;
        let proved = match (&answer.rsa_signature, &answer.ecdsa_signature) {
            (Some(rsa), None) => {
                both(nonce, &rsa.nonce).is_some_and(|message| key.verifies_rsa(&message, rsa))
            }
            (None, Some(ecdsa)) => {
                both(nonce, &ecdsa.nonce).is_some_and(|message| key.verifies_ecdsa(&message, ecdsa))
            }
            _ => false,
        };
        if !proved {
            return Err(VerifyError::Refused(
                "the signature over the challenge is not by the certificate's key".to_owned(),
            ));
        }
        let cas = chain::check(&certificates, &self.roots, now)?;
        let der = certificates.first().map(Vec::as_slice).unwrap_or_default();
        let leaf = chain::parse(der)?;
        Ok(Verdict::Facts(Facts {
            node_key: node_key(&certificates)?,
            selectors: chain::selectors(&leaf, &cas, self.trust_domain.as_str()),
            can_reattest: true,
            consume: None,
        }))
    }
}

/// The node, by the fingerprint of its certificate.
fn node_key(certificates: &[Vec<u8>]) -> Result<NodeKey, VerifyError> {
    let der = certificates.first().map(Vec::as_slice).unwrap_or_default();
    NodeKey::new(&[&chain::fingerprint(der)])
        .map_err(|error| VerifyError::Unavailable(error.to_string()))
}

/// What both sides sign and verify, before the hash: nonce, then the node's nonce.
fn both(nonce: &[u8], theirs: &Bytes) -> Option<Vec<u8>> {
    (theirs.0.len() == NONCE_BYTES).then(|| [nonce, &theirs.0].concat())
}

/// The nonce and the certificates, out of the notes.
fn recall(notes: &[u8]) -> Option<(&[u8], Vec<Vec<u8>>)> {
    let (nonce, mut rest) = notes.split_at_checked(NONCE_BYTES)?;
    let mut certificates = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (der, after) = after.split_at_checked(length)?;
        certificates.push(der.to_vec());
        rest = after;
    }
    Some((nonce, certificates))
}

impl Verify for X509PopVerifier {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        Limits {
            evidence_bytes: EVIDENCE_BYTES,
            rounds: 2,
        }
    }

    fn verify(
        &self,
        evidence: &[u8],
        state: &mut Exchange,
        now: Timestamp,
        host: &dyn VerifyHost,
    ) -> Result<Verdict, VerifyError> {
        if state.notes.is_empty() {
            return self.challenge(evidence, state, now, host);
        }
        // One try for each challenge.
        let notes = std::mem::take(&mut state.notes);
        self.conclude(evidence, &notes, now)
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
