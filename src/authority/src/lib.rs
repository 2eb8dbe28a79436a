//! Mints X.509-SVIDs, JWT-SVIDs and access tokens: prepare, record, sign.
//!
//! A credential begins as a prepared value, which exists only if the profile's
//! checks and lints ran. Redeeming it takes a [`journal::Receipt`], which exists
//! only if its record is durable. Only then are there bytes to sign, and only
//! `finish` makes a credential of them. No record, no credential: the types say so.
//!
//! ```
//! use authority::{IssueError, PreparedX509, X509Authority};
//! # use identity::X509Svid;
//! fn mint(
//!     authority: &X509Authority,
//!     prepared: PreparedX509,
//!     receipt: journal::Receipt,
//! ) -> Option<Result<X509Svid, IssueError>> {
//!     let recorded = prepared.redeem(receipt).ok()?;
//!     Some(authority.sign(recorded))
//! }
//! ```
//!
//! The same without the record does not compile:
//!
//! ```compile_fail,E0308
//! use authority::{IssueError, PreparedX509, X509Authority};
//! # use identity::X509Svid;
//! fn mint(
//!     authority: &X509Authority,
//!     prepared: PreparedX509,
//! ) -> Option<Result<X509Svid, IssueError>> {
//!     Some(authority.sign(prepared))
//! }
//! ```
//!
//! ```compile_fail,E0599
//! // A prepared certificate has no bytes to sign: there is nothing to get around.
//! fn skip_the_record(prepared: authority::PreparedX509) -> Vec<u8> {
//!     prepared.bytes().to_vec()
//! }
//! ```
//!
//! ```compile_fail,E0382
//! // A prepared certificate is redeemed once.
//! fn sign_twice(prepared: authority::PreparedX509, a: journal::Receipt, b: journal::Receipt) {
//!     let _first = prepared.redeem(a);
//!     let _second = prepared.redeem(b);
//! }
//! ```
//!
//! ```compile_fail,E0382
//! // A receipt vouches for one credential.
//! fn reuse(one: authority::PreparedX509, two: authority::PreparedX509, receipt: journal::Receipt) {
//!     let _first = one.redeem(receipt);
//!     let _second = two.redeem(receipt);
//! }
//! ```
//!
//! Floor 1 and pure: no runtime, no sockets, no files, no clock, no randomness
//! of its own. Contents come from the registration entry, never from a CSR: a
//! CSR contributes a public key.

pub mod belief;
mod certificate;
mod crl;
mod csr;
mod finish;
mod intermediate;
mod jwt;
mod lint;
mod prepared;
mod refused;
pub mod rotation;
mod serial;
mod signature;
mod subject_key;
mod template;
mod time;
pub mod upstream;
mod x509;

pub use crl::CrlTerms;
pub use finish::{FinishError, IssueError, ReceiptMismatch};
pub use intermediate::{IntermediateToBeSigned, PreparedIntermediate};
pub use jwt::{
    AccessAuthority, AccessToken, Confirmation, DECISION_CLAIM, DecisionMark, Jti, JwtAuthority,
    JwtRefused, JwtToBeSigned, MAX_AUDIENCE_BYTES, MAX_AUDIENCES, MAX_SCOPED_BYTES,
    NOT_BEFORE_SKEW, PreparedJwt, Scoped,
};
pub use lint::Lint;
pub use prepared::{PreparedX509, ToBeSigned};
pub use refused::{AuthorityError, Refused};
pub use serial::{Serial, SerialPrefix};
pub use subject_key::{KeyRefused, SubjectKey};
pub use x509::{AuthorityTerms, BACKDATE, LeafSubject, MAX_DNS_NAME_BYTES, X509Authority};
