//! Why a request gets no token: an OAuth error code (RFC 6749 section 5.2,
//! RFC 8707, RFC 9396) and a sentence its developer can act on.

use serde::{Deserialize, Serialize};

/// The error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Malformed, over a limit, or asking for a lifetime or profile it cannot have.
    InvalidRequest,
    /// A permission that the service does not declare.
    InvalidScope,
    /// An audience that is not in the catalogue, or not for this entry (RFC 8707).
    InvalidTarget,
    /// Unknown type, or not what the type's schema asks for (RFC 9396 section 5).
    InvalidAuthorizationDetails,
    /// No policy permits it, or one forbids it.
    AccessDenied,
    /// Too many tokens in too short a time.
    SlowDown,
}

impl RefusalCode {
    /// The code as OAuth spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::AccessDenied => "access_denied",
            Self::SlowDown => "slow_down",
        }
    }
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {reason}", code.as_str())]
pub struct Refusal {
    /// The code.
    pub code: RefusalCode,
    /// What is wrong and what to do, for a developer.
    pub reason: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}
