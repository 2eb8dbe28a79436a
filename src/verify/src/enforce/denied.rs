//! A denied call, in the words of OAuth (RFC 6750 section 3, RFC 9449 section 7.1)
//! and of gRPC.

use std::fmt::Write as _;

use http::StatusCode;
use policy::PermissionName;

use crate::{PossessionFault, Replayed, RevokedFault, TokenFault, TokenProfile};

/// The longest description put into a header, bytes.
const DESCRIPTION_BYTES_MAX: usize = 300;

/// Why a call is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// It carries no token.
    #[error("no token; send one in the header Authorization, as Bearer or DPoP")]
    NoToken,
    /// Its token is not accepted.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// Its token is revoked.
    #[error(transparent)]
    Revoked(#[from] RevokedFault),
    /// Its DPoP proof was used before.
    #[error(transparent)]
    Replayed(#[from] Replayed),
    /// The service does not take tokens of that profile.
    #[error("{audience} does not take tokens of the profile {}; ask for {accepted}", .found.as_str())]
    Profile {
        /// The service.
        audience: String,
        /// The token's profile.
        found: TokenProfile,
        /// What the service takes.
        accepted: String,
    },
    /// No permission of the catalogue covers the endpoint.
    #[error("no permission of {0} covers this endpoint; its owner has to map it in the catalogue")]
    Unmapped(String),
    /// The token does not carry the permission.
    #[error("this call needs the permission {0}, which the token does not carry")]
    Missing(PermissionName),
    /// The permission's time is over.
    #[error("the permission {0} is past its sunset; ask its owner what replaces it")]
    Sunset(PermissionName),
    /// The token's `authorization_details` for the permission are not as declared.
    #[error("authorization_details for {0}: {1}")]
    Details(PermissionName, String),
}

impl Denied {
    /// 401 for what is wrong with the token, 403 for what it does not allow.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::Token(_) | Self::Revoked(_) | Self::Replayed(_) => {
                StatusCode::UNAUTHORIZED
            }
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// gRPC's code for the same: UNAUTHENTICATED (16) or PERMISSION_DENIED (7).
    #[must_use]
    pub const fn grpc_code(&self) -> u8 {
        match self {
            Self::NoToken | Self::Token(_) | Self::Revoked(_) | Self::Replayed(_) => 16,
            _ => 7,
        }
    }

    /// OAuth's code; none when no token was sent at all (RFC 6750 section 3.1).
    #[must_use]
    pub const fn oauth_code(&self) -> Option<&'static str> {
        match self {
            Self::NoToken => None,
            Self::Token(TokenFault::Possession(
                PossessionFault::NoProof | PossessionFault::Proof(_),
            ))
            | Self::Replayed(_) => Some("invalid_dpop_proof"),
            Self::Token(_) | Self::Revoked(_) => Some("invalid_token"),
            _ => Some("insufficient_scope"),
        }
    }

    /// The value of `WWW-Authenticate`: a challenge, ASCII, of bounded length.
    #[must_use]
    pub fn challenge(&self) -> String {
        let scheme = match self.oauth_code() {
            Some("invalid_dpop_proof") => "DPoP",
            _ => "Bearer",
        };
        let mut out = scheme.to_owned();
        if let Some(code) = self.oauth_code() {
            let text: String = self.to_string();
            let plain = |c: char| {
                if matches!(c, ' '..='~') && c != '"' && c != '\\' {
                    c
                } else {
                    '?'
                }
            };
            let text: String = text
                .chars()
                .take(DESCRIPTION_BYTES_MAX)
                .map(plain)
                .collect();
            // Writing to a String cannot fail.
            let _ = write!(out, " error=\"{code}\", error_description=\"{text}\"");
        }
        if let Self::Missing(permission) = self {
            let _ = write!(out, ", scope=\"{permission}\"");
        }
        out
    }

    /// The text as gRPC carries it in `grpc-message`: ASCII, percent-encoded.
    #[must_use]
    pub fn grpc_message(&self) -> String {
        let mut out = String::new();
        for byte in self.to_string().bytes().take(DESCRIPTION_BYTES_MAX) {
            if matches!(byte, b' '..=b'~') && byte != b'%' {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    }
}
