//! What can go wrong between here and KMS, and what it means for whoever asked.

use keys::{SignError, StorageError};

use crate::limits;

/// What storage and errors are called.
pub(crate) const NAME: &str = "AWS KMS";

/// Why a call was not answered as hoped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody answered, or with a failure of their own: trying again may help.
    Away(String),
    /// The credentials are not accepted, or there are none. Others may be.
    Credentials(String),
    /// KMS says no: the exception's name, and its message.
    Denied { exception: String, message: String },
}

impl Fault {
    /// An answer other than 200.
    pub(crate) fn of_answer(status: u16, exception: &str, message: &str) -> Self {
        const TRANSIENT: [&str; 6] = [
            "ThrottlingException",
            "RequestLimitExceeded",
            "KMSInternalException",
            "DependencyTimeoutException",
            "KeyUnavailableException",
            "ServiceUnavailableException",
        ];
        const CREDENTIALS: [&str; 7] = [
            "ExpiredTokenException",
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "MissingAuthenticationTokenException",
            "IncompleteSignatureException",
        ];
        // Without a name it was turned away before KMS saw it.
        let unnamed = matches!(status, 401 | 403) && exception.is_empty();
        if unnamed || CREDENTIALS.contains(&exception) {
            // The message repeats what was signed, session token included.
            return Self::Credentials(format!(
                "it answered {status} {exception}: credentials or clock are wrong"
            ));
        }
        if status == 429 || status >= 500 || TRANSIENT.contains(&exception) {
            return Self::Away(format!("it answered {status} {exception}"));
        }
        Self::Denied {
            exception: exception.to_owned(),
            message: clip(message),
        }
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Denied { exception, .. } if exception == name)
    }

    fn why(self) -> String {
        match self {
            Self::Away(why) | Self::Credentials(why) => why,
            Self::Denied { exception, message } => format!("{exception}: {message}"),
        }
    }

    pub(crate) fn storage(self) -> StorageError {
        let storage = NAME.to_owned();
        match self {
            Self::Denied { .. } => StorageError::Denied {
                storage,
                why: self.why(),
            },
            other => StorageError::Away {
                storage,
                why: other.why(),
            },
        }
    }

    pub(crate) fn sign(self) -> SignError {
        match self {
            // A key that is disabled or a right that was taken away can come back.
            Self::Denied { .. } => SignError::Refused(format!("{NAME}: {}", self.why()).into()),
            other => SignError::Unavailable(format!("{NAME}: {}", other.why()).into()),
        }
    }
}

/// A bounded, printable start of a foreign text.
pub(crate) fn clip(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(limits::MAX_REASON_BYTES).collect()
}
