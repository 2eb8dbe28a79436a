//! What a token's refusals mean: try again, find the token again, or give up.

use cryptoki::error::{Error, RvError};
use keys::{SignError, StorageError};

/// What went wrong with the token.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The session, the login or the handles are gone: the token was taken away, reset,
    /// or another process of ours closed it. Finding it again may help.
    Lost(String),
    /// It cannot be used now.
    Away(String),
    /// It says no, and would again.
    Refused(String),
}

impl Fault {
    pub(crate) fn storage(self, storage: &str) -> StorageError {
        let storage = storage.to_owned();
        match self {
            Self::Lost(why) | Self::Away(why) => StorageError::Away { storage, why },
            Self::Refused(why) => StorageError::Denied { storage, why },
        }
    }

    pub(crate) fn sign(self, storage: &str) -> SignError {
        match self {
            Self::Lost(why) | Self::Away(why) => {
                SignError::Unavailable(format!("{storage}: {why}").into())
            }
            Self::Refused(why) => SignError::Refused(format!("{storage}: {why}").into()),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        // The library's texts name functions and codes, never PINs or keys.
        let why = error.to_string();
        match error {
            Error::Pkcs11(code, _) => match code {
                RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserNotLoggedIn
                | RvError::CryptokiNotInitialized
                | RvError::DeviceRemoved
                | RvError::DeviceError
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::SlotIdInvalid
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::OperationNotInitialized
                | RvError::OperationActive
                | RvError::GeneralError
                | RvError::FunctionFailed => Self::Lost(why),
                RvError::SessionCount
                | RvError::HostMemory
                | RvError::DeviceMemory
                | RvError::FunctionCanceled
                | RvError::Cancel
                | RvError::VendorDefined(_)
                | RvError::UnknownErrorCode(_) => Self::Away(why),
                _ => Self::Refused(why),
            },
            _ => Self::Refused(why),
        }
    }
}
