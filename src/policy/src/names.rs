//! Names of audiences and permissions: parsed once, valid ever after.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{AUDIENCE_BYTES_MAX, PERMISSION_BYTES_MAX};

/// Why a text names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, too long or with a character that is not allowed.
    #[error(
        "{0:?} is no audience: use 1 to {AUDIENCE_BYTES_MAX} printable ASCII characters without spaces, quotes and backslashes"
    )]
    Audience(String),
    /// Empty, too long or with a character that is not allowed.
    #[error(
        "{0:?} is no permission name: begin with a lowercase letter, go on with a-z, 0-9 and . _ - : /, at most {PERMISSION_BYTES_MAX} bytes, as in payments:refund.create"
    )]
    Permission(String),
}

/// Whom a token is for: one service of the catalogue.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Audience(Arc<str>);

/// One permission of the catalogue, such as `payments:refund.create`. It is a
/// scope token of RFC 6749 and the id of a Cedar action.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PermissionName(Arc<str>);

impl Audience {
    /// Parses an audience.
    ///
    /// # Errors
    /// Says what an audience looks like.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b'`');
        if text.is_empty() || text.len() > AUDIENCE_BYTES_MAX || !text.bytes().all(plain) {
            return Err(NameError::Audience(excerpt(text)));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PermissionName {
    /// Parses a permission's name.
    ///
    /// # Errors
    /// Says what a permission's name looks like.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| {
            b.is_ascii_lowercase()
                || b.is_ascii_digit()
                || matches!(b, b'.' | b'_' | b'-' | b':' | b'/')
        };
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if !begins || text.len() > PERMISSION_BYTES_MAX || !text.bytes().all(plain) {
            return Err(NameError::Permission(excerpt(text)));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Enough of a bad name to find it; a hostile one does not fill a log.
fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! text_of {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
text_of!(Audience);
text_of!(PermissionName);
