//! What a relying party needs: checks of X.509-SVIDs and JWT-SVIDs against the
//! bundle of their own trust domain, and the SPIFFE bundle format.
//!
//! Pure: no clock (the time is an argument), no sockets, no files, no runtime.
//! Only the bundle of the SVID's own trust domain ever verifies it (SPIFFE
//! Federation section 7.3); authorities of several domains are never pooled.
//!
//! **Taint does not invalidate.** A tainted authority is still in the bundle and
//! still verifies: taint tells *holders* to replace what it signed. What must no
//! longer be accepted is revoked: an authority is removed from the bundle, a single
//! SVID or everything of an ID is named in the signed list of [`Revocations`].
//!
//! # A certificate
//! ```
//! use identity::{Bundle, Timestamp, TrustDomain, X509AuthorityCertificate};
//! use rustls_pki_types::{CertificateDer, pem::PemObject as _};
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/chains");
//! let read = |file: &str| -> Vec<CertificateDer> {
//!     let pem = std::fs::read(format!("{folder}/{file}")).unwrap();
//!     CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect()
//! };
//! // The authorities of a trust domain: known beforehand, never taken from a peer.
//! let mut bundle = Bundle::empty(TrustDomain::parse("f.test").unwrap());
//! bundle.x509_authorities = read("good.roots.pem")
//!     .into_iter()
//!     .map(|der| X509AuthorityCertificate { der: der.as_ref().into(), tainted: false })
//!     .collect();
//!
//! // What the peer showed in the handshake, leaf first.
//! let shown = read("good.pem");
//! let chain: Vec<&[u8]> = shown.iter().map(AsRef::as_ref).collect();
//! let now = Timestamp(1_795_507_200);
//! let peer = verify::verify_x509_svid(&chain, &bundle, now).unwrap();
//! assert_eq!(peer.spiffe_id.as_str(), "spiffe://f.test/web");
//!
//! // It holds as long as the certificate does.
//! let fault = verify::verify_x509_svid(&chain, &bundle, Timestamp(1_800_000_000));
//! assert_eq!(fault, Err(verify::X509Fault::Expired));
//! ```
//!
//! # A token
//! ```
//! use std::sync::Arc;
//! use identity::{Seconds, Timestamp, TrustDomain};
//! use verify::{bundle_format, verify_jwt_svid};
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus");
//! # let index = std::fs::read(format!("{folder}/tokens.json")).unwrap();
//! # let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
//! # let token = index["cases"][0]["token"].as_str().unwrap();
//! let document = std::fs::read(format!("{folder}/tokens.bundle.json")).unwrap();
//! let trust_domain = TrustDomain::parse("f.test").unwrap();
//! // One bundle, or a map of many by trust domain.
//! let bundles = Arc::new(bundle_format::decode(&trust_domain, &document).unwrap());
//!
//! let (now, leeway) = (Timestamp(1_795_507_200), Seconds(30));
//! let caller = verify_jwt_svid(token, "db", &bundles, now, leeway).unwrap();
//! assert_eq!(caller.spiffe_id.as_str(), "spiffe://f.test/web");
//! // The audience is yours, and never one that the token names.
//! assert!(verify_jwt_svid(token, "web", &bundles, now, leeway).is_err());
//! ```

mod access;
pub mod bundle_format;
mod bundle_source;
mod constrained_path;
#[cfg(feature = "enforce")]
pub mod enforce;
mod jwk;
mod jws;
mod jwt;
mod name_constraints;
mod on_curve;
mod path;
mod possession;
mod provider;
mod revocations;
mod roca;
mod scoped;
mod strict_json;
mod x509;

pub use access::{TokenIssuer, verify_access_token};
pub use bundle_source::BundleSource;
pub use jws::verify_jws;
pub use jwt::{JwtFault, MAX_TOKEN_BYTES, VerifiedJwt, verify_jwt_svid};
pub use possession::{
    Confirmation, MAX_PROOF_AGE, PROOF_ALGORITHMS, PROOFS_KEPT_MAX, PossessionFault, Presenter,
    Proof, ProofFault, ProofId, ProofsSeen, Replayed,
};
pub use revocations::{
    MAX_LIST_BYTES, MAX_LIST_ENTRIES, RevocationCheck, RevocationListFault, RevocationSource,
    Revocations, RevokedFault, verify_jwt_svid_not_revoked, verify_x509_svid_not_revoked,
};
pub use scoped::{
    MAX_DETAILS, MAX_PERMISSIONS, ScopedToken, TokenFault, TokenProfile, TokenTrust,
    verify_scoped_token,
};
pub use x509::{
    LeafIdentity, MAX_CERTIFICATE_BYTES, MAX_CHAIN, VerifiedX509, X509Fault, leaf_identity,
    verify_x509_svid,
};
