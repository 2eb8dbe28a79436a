//! What a relying party needs: checks of X.509-SVIDs and JWT-SVIDs against the
//! bundle of their own trust domain, and the SPIFFE bundle format.
//!
//! Pure: no clock (the time is an argument), no sockets, no files, no runtime.
//! Only the bundle of the SVID's own trust domain ever verifies it (SPIFFE
//! Federation section 7.3); authorities of several domains are never pooled.
//!
//! **Taint does not invalidate.** A tainted authority is still in the bundle and
//! still verifies: taint tells *holders* to replace what it signed. What must no
//! longer be accepted is revoked, that is, removed from the bundle.

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
mod roca;
mod scoped;
mod strict_json;
mod x509;

pub use access::{TokenIssuer, verify_access_token};
pub use bundle_source::BundleSource;
pub use jws::verify_jws;
pub use jwt::{JwtFault, MAX_TOKEN_BYTES, VerifiedJwt, verify_jwt_svid};
pub use possession::{
    Confirmation, MAX_PROOF_AGE, PROOFS_KEPT_MAX, PossessionFault, Presenter, Proof, ProofFault,
    ProofId, ProofsSeen, Replayed,
};
pub use scoped::{
    MAX_DETAILS, MAX_PERMISSIONS, ScopedToken, TokenFault, TokenProfile, TokenTrust,
    verify_scoped_token,
};
pub use x509::{
    LeafIdentity, MAX_CERTIFICATE_BYTES, MAX_CHAIN, VerifiedX509, X509Fault, leaf_identity,
    verify_x509_svid,
};
