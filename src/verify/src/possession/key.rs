//! The key in the header of a DPoP proof: read, named by its thumbprint, verified with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::JwtAuthorityKey;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use super::dpop::ProofFault;
use crate::jwk;
use crate::jwt::{self, JwtFault, Parts};

/// The algorithms whose proofs are accepted, as metadata announces them
/// (`dpop_signing_alg_values_supported`, RFC 9449 section 5.1).
pub const PROOF_ALGORITHMS: [&str; 10] = [
    "ES256", "ES384", "EdDSA", "Ed25519", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
];

/// A public key that signs proofs.
pub(super) enum ProofKey {
    /// As SVIDs and their tokens are signed with.
    Ordinary(JwtAuthorityKey),
    /// Ed25519 (RFC 8037): it signs proofs, though no token of ours.
    Ed25519([u8; 32]),
}

impl ProofKey {
    /// Reads a JWK.
    pub(super) fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        if member("kty") == Some("OKP") {
            let is_ed25519 = member("crv") == Some("Ed25519");
            let bytes = URL_SAFE_NO_PAD.decode(member("x").filter(|_| is_ed25519)?);
            return bytes.ok()?.try_into().ok().map(Self::Ed25519);
        }
        let key = JwtAuthorityKey {
            key_id: "dpop".into(),
            spki: jwk::spki_of(jwk)?.into(),
            expires_at: None,
            tainted: false,
        };
        Some(Self::Ordinary(key))
    }

    /// RFC 7638: the required members alone, in the order of their names.
    pub(super) fn thumbprint(&self) -> Option<[u8; 32]> {
        // Sorted here, whatever order the map keeps; these are exactly the required members.
        let members: BTreeMap<String, Value> = match self {
            Self::Ordinary(key) => jwk::parts(&key.spki)?.members().into_iter().collect(),
            Self::Ed25519(x) => BTreeMap::from([
                ("crv".to_owned(), Value::from("Ed25519")),
                ("kty".to_owned(), Value::from("OKP")),
                ("x".to_owned(), Value::from(URL_SAFE_NO_PAD.encode(x))),
            ]),
        };
        let text = serde_json::to_string(&members).ok()?;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Some(bytes)
    }

    /// Verifies a proof's signature; the key decides which algorithms may be used.
    pub(super) fn verify(&self, parts: &Parts<'_>, algorithm: &str) -> Result<(), ProofFault> {
        let checked = match self {
            Self::Ordinary(key) => jwt::verify_signature(parts, algorithm, key),
            Self::Ed25519(x) if matches!(algorithm, "EdDSA" | "Ed25519") => {
                let signature = URL_SAFE_NO_PAD.decode(parts.signature);
                let key = UnparsedPublicKey::new(&ED25519, x);
                let verified = signature
                    .ok()
                    .and_then(|bytes| key.verify(parts.signed.as_bytes(), &bytes).ok());
                verified.ok_or(JwtFault::Signature)
            }
            Self::Ed25519(_) => Err(JwtFault::Algorithm(algorithm.chars().take(32).collect())),
        };
        checked.map_err(ProofFault::Token)
    }
}
