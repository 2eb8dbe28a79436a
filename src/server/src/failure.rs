//! The one shape in which the server's parts say no. The gRPC edge maps the kind
//! to a status code; the message is written for the caller and holds no secret.

use std::fmt;

pub(crate) use api::status::Kind;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    /// A failure of one kind, with a message for the caller.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// [`Kind::Invalid`] from any error's text.
    #[must_use]
    pub fn invalid(why: impl fmt::Display) -> Self {
        Self::new(Kind::Invalid, why.to_string())
    }

    /// [`Kind::NotFound`].
    #[must_use]
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, what.to_string())
    }

    /// [`Kind::Denied`].
    #[must_use]
    pub fn denied(why: impl fmt::Display) -> Self {
        Self::new(Kind::Denied, why.to_string())
    }

    /// [`Kind::Unavailable`].
    #[must_use]
    pub fn unavailable(why: impl fmt::Display) -> Self {
        Self::new(Kind::Unavailable, why.to_string())
    }

    /// [`Kind::Internal`].
    #[must_use]
    pub fn internal(why: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, why.to_string())
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for tonic::Status {
    fn from(failure: Failure) -> Self {
        failure.kind.status(failure.message)
    }
}

impl From<crate::entropy::NoEntropy> for Failure {
    fn from(error: crate::entropy::NoEntropy) -> Self {
        Self::unavailable(error)
    }
}
