//! What can go wrong between a prepared credential and a finished one.

use keys::SignError;

use crate::lint::Lint;

/// The receipt belongs to another record. Both the receipt and the prepared
/// credential are spent: prepare again and record again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receipt is for another credential's record; nothing was signed")]
pub struct ReceiptMismatch;

/// Why signed bytes do not become a credential. The credential is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// The signature has not the form its key makes.
    #[error("signer returned something that is not a signature of its key type")]
    Malformed,
    /// The signature does not verify.
    #[error("signer returned a signature that does not verify with its public key")]
    DoesNotVerify,
    /// The assembled certificate is not what was prepared.
    #[error("assembled certificate is not what was prepared: {0}")]
    Lint(#[from] Lint),
}

/// Why an authority did not sign what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The bytes were prepared by another authority.
    #[error("credential was prepared by another authority; sign it with that one")]
    OtherAuthority,
    /// The signer failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The result was not acceptable.
    #[error(transparent)]
    Finish(#[from] FinishError),
}
