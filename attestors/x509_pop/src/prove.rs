//! The agent's half.

use std::fmt;

use contract::{Evidence, Prove, ProveError, ProveStep};
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PSS_SHA256, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::key::NodeKeyKind;
use crate::wire::{Answer, Bytes, Challenge, EcdsaSignature, Nonce, Presented, RsaSignature};
use crate::{KIND, NONCE_BYTES, chain};

/// A node's certificate, the intermediates that lead to its root, and its key.
pub struct NodeCertificate {
    chain: Vec<Vec<u8>>,
    key: SigningKey,
}

enum SigningKey {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// Why a certificate and key cannot prove a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeCertificateError {
    /// The certificate file is none.
    #[error("the certificate file holds no certificate in PEM")]
    NoCertificate,
    /// The chain is not one that a server would look at.
    #[error("{0}")]
    Chain(String),
    /// The key file is none.
    #[error(
        "the key file holds no P-256 or RSA private key; write it as PKCS#8 \
         (openssl pkcs8 -topk8 -nodes)"
    )]
    Key,
    /// The two do not belong together.
    #[error("the private key is not the certificate's")]
    Mismatch,
}

impl NodeCertificate {
    /// Reads the certificate (with the intermediates after it) and the private key,
    /// both PEM. Keys are P-256 or RSA; ring cannot sign with P-384 over SHA-256,
    /// which the protocol asks for.
    ///
    /// # Errors
    /// Says which of the two cannot be used, and why.
    pub fn from_pem(
        certificate: &[u8],
        key: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Self, NodeCertificateError> {
        let chain: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(certificate)
            .map(|section| section.map(|der| der.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|_unreadable| NodeCertificateError::NoCertificate)?;
        if chain.is_empty() {
            return Err(NodeCertificateError::NoCertificate);
        }
        let public =
            chain::bound(&chain).map_err(|error| NodeCertificateError::Chain(error.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|_unreadable| NodeCertificateError::Key)?;
        let key = SigningKey::read(&key, random).ok_or(NodeCertificateError::Key)?;
        if !key.belongs_to(&public) {
            return Err(NodeCertificateError::Mismatch);
        }
        Ok(Self { chain, key })
    }
}

impl fmt::Debug for NodeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeCertificate({} certificates)", self.chain.len())
    }
}

impl SigningKey {
    fn read(der: &PrivateKeyDer<'_>, random: &dyn SecureRandom) -> Option<Self> {
        match der {
            PrivateKeyDer::Pkcs8(key) => {
                let key = key.secret_pkcs8_der();
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::from_pkcs8(algorithm, key, random)
                    .map(Self::P256)
                    .or_else(|_not_p256| RsaKeyPair::from_pkcs8(key).map(Self::Rsa))
                    .ok()
            }
            PrivateKeyDer::Pkcs1(key) => {
                let key = RsaKeyPair::from_der(key.secret_pkcs1_der());
                key.map(Self::Rsa).ok()
            }
            _ => None,
        }
    }

    fn belongs_to(&self, public: &NodeKeyKind) -> bool {
        match (self, public) {
            (Self::P256(key), NodeKeyKind::P256 { point }) => key.public_key().as_ref() == point,
            (Self::Rsa(key), NodeKeyKind::Rsa { modulus }) => {
                PublicKeyComponents::<Vec<u8>>::from(key.public()).n == *modulus
            }
            _ => false,
        }
    }
}

/// Proves a node by its certificate.
#[derive(Debug)]
pub struct X509PopProver {
    certificate: NodeCertificate,
    random: SystemRandom,
}

impl X509PopProver {
    /// A prover for one certificate; the source of randomness is the caller's.
    #[must_use]
    pub const fn new(certificate: NodeCertificate, random: SystemRandom) -> Self {
        Self {
            certificate,
            random,
        }
    }

    fn answer(&self, challenge: &[u8]) -> Result<Answer, ProveError> {
        let unknown = ProveError::UnexpectedChallenge(KIND);
        let failed = |what: &str| ProveError::Unavailable(what.to_owned());
        let challenge: Challenge =
            serde_json::from_slice(challenge).map_err(|_unreadable| unknown.clone())?;
        let mut nonce = vec![0; NONCE_BYTES];
        self.random
            .fill(&mut nonce)
            .map_err(|_failed| failed("no random bytes could be made"))?;
        // Never signs what could be another protocol's message: both nonces have
        // their length, and one of them is ours.
        let both = |theirs: &Nonce| {
            let theirs = &theirs.nonce.0;
            (theirs.len() == NONCE_BYTES).then(|| [theirs.as_slice(), &nonce].concat())
        };
        let no_signature = |_failed: ring::error::Unspecified| failed("the key could not sign");
        match (&self.certificate.key, challenge) {
            (
                SigningKey::P256(key),
                Challenge {
                    ecdsa_signature: Some(theirs),
                    rsa_signature: None,
                },
            ) => {
                let message = both(&theirs).ok_or(unknown)?;
                let signed = key.sign(&self.random, &message).map_err(no_signature)?;
                let (r, s) = signed.as_ref().split_at(signed.as_ref().len() / 2);
                Ok(Answer {
                    rsa_signature: None,
                    ecdsa_signature: Some(EcdsaSignature {
                        r: Bytes(r.to_vec()),
                        s: Bytes(s.to_vec()),
                        nonce: Bytes(nonce),
                    }),
                })
            }
            (
                SigningKey::Rsa(key),
                Challenge {
                    rsa_signature: Some(theirs),
                    ecdsa_signature: None,
                },
            ) => {
                let message = both(&theirs).ok_or(unknown)?;
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PSS_SHA256, &self.random, &message, &mut signature)
                    .map_err(no_signature)?;
                Ok(Answer {
                    ecdsa_signature: None,
                    rsa_signature: Some(RsaSignature {
                        nonce: Bytes(nonce),
                        signature: Bytes(signature),
                    }),
                })
            }
            _ => Err(unknown),
        }
    }
}

impl Prove for X509PopProver {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn prove(&mut self, step: ProveStep<'_>) -> Result<Evidence, ProveError> {
        let message = match step {
            ProveStep::Start => serde_json::to_vec(&Presented {
                certificates: self.certificate.chain.iter().cloned().map(Bytes).collect(),
            }),
            ProveStep::Challenge(challenge) => serde_json::to_vec(&self.answer(challenge)?),
        };
        message
            .map(Evidence::new)
            .map_err(|error| ProveError::Unavailable(error.to_string()))
    }
}
