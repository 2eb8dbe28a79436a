//! Proof of possession: that whoever presents a token holds the key it is bound to.
//!
//! A token names one method in `cnf`: the certificate of the mutual-TLS connection
//! it comes over (`x5t#S256`, RFC 8705) or a key that signs each request (`jkt`,
//! RFC 9449). A token stolen from a log or a proxy is then worth nothing.

mod dpop;
mod key;
mod replay;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Seconds, Timestamp};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

pub use dpop::{MAX_PROOF_AGE, Proof, ProofFault, ProofId};
pub use key::PROOF_ALGORITHMS;
pub use replay::{PROOFS_KEPT_MAX, ProofsSeen, Replayed};

/// What a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// SHA-256 of the certificate, DER (`x5t#S256`, RFC 8705 section 3.1).
    Certificate([u8; 32]),
    /// SHA-256 thumbprint of a public key (`jkt`, RFC 9449 section 6.1).
    Key([u8; 32]),
}

/// Why whoever presents a token does not prove that it is theirs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PossessionFault {
    /// `cnf` is no object of exactly one method that is known.
    #[error("token claim cnf does not name exactly one of x5t#S256 and jkt, 32 bytes in base64url")]
    Malformed,
    /// The token must be bound and is not.
    #[error("token is not bound to its caller (cnf), as this service demands; ask for at+jwt")]
    NotBound,
    /// Bound to a certificate, and none was presented.
    #[error(
        "token is bound to a certificate, but the caller's certificate was not given; call over mutual TLS"
    )]
    NoCertificate,
    /// Bound to another certificate.
    #[error(
        "token is bound to another certificate than the caller's; after a renewal take the token of the new certificate"
    )]
    WrongCertificate,
    /// Bound to a key, and no proof was presented.
    #[error("token is bound to a key, but the request carries no DPoP proof")]
    NoProof,
    /// The DPoP proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofFault),
}

/// How a caller presents itself beside its token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presenter<'a> {
    /// The leaf certificate, DER, of the mutual-TLS connection the request came over.
    pub certificate: Option<&'a [u8]>,
    /// The DPoP proof and what it must be for.
    pub proof: Option<Proof<'a>>,
}

/// Reads `cnf`; `None` when the token is not bound.
pub(crate) fn confirmation(
    claims: &Map<String, Value>,
) -> Result<Option<Confirmation>, PossessionFault> {
    let Some(cnf) = claims.get("cnf") else {
        return Ok(None);
    };
    let members = cnf.as_object().ok_or(PossessionFault::Malformed)?;
    // Two methods would leave it to the verifier which of them counts.
    let mut members = members.iter();
    let (Some((method, Value::String(text))), None) = (members.next(), members.next()) else {
        return Err(PossessionFault::Malformed);
    };
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let thumbprint: [u8; 32] = bytes.try_into().or(Err(PossessionFault::Malformed))?;
    match method.as_str() {
        "x5t#S256" => Ok(Some(Confirmation::Certificate(thumbprint))),
        "jkt" => Ok(Some(Confirmation::Key(thumbprint))),
        _ => Err(PossessionFault::Malformed),
    }
}

/// Checks that the presenter holds what a token is bound to. Answers the identity of
/// the DPoP proof, if one was used: a proof counts once, so the caller must keep it
/// in [`ProofsSeen`].
pub(crate) fn check(
    confirmation: Confirmation,
    presenter: &Presenter<'_>,
    token: &str,
    now: Timestamp,
    leeway: Seconds,
) -> Result<Option<ProofId>, PossessionFault> {
    match confirmation {
        Confirmation::Certificate(thumbprint) => {
            let certificate = presenter
                .certificate
                .ok_or(PossessionFault::NoCertificate)?;
            if digest(&SHA256, certificate).as_ref() == thumbprint {
                Ok(None)
            } else {
                Err(PossessionFault::WrongCertificate)
            }
        }
        Confirmation::Key(thumbprint) => {
            let proof = presenter.proof.as_ref().ok_or(PossessionFault::NoProof)?;
            Ok(Some(dpop::check(proof, &thumbprint, token, now, leeway)?))
        }
    }
}
