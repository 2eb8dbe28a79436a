//! Why a credential was not issued, in words for the caller and in a kind for the edge.

use identity::{EntryId, SpiffeId};

use crate::failure::{Failure, Kind};

/// Why a credential was not issued.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IssueRefusal {
    /// The agent is not authorised for the entry, or there is no such entry: one
    /// answer for both, so that an agent learns nothing of entries that are not its own.
    #[error("agent is not authorised for entry {0}, or there is no such entry")]
    NotAuthorised(EntryId),
    /// The identity may not be minted by an administrator.
    #[error("{0}")]
    NotMintable(String),
    /// An administrator revoked the ID, and has not lifted that.
    #[error("{0} is revoked until an administrator lifts it")]
    Revoked(SpiffeId),
    /// There is no authority that may sign now.
    #[error("this server has no {0} authority that may sign now; see its readiness")]
    NoAuthority(&'static str),
    /// The X.509 profile's checks said no.
    #[error(transparent)]
    X509(#[from] authority::Refused),
    /// The JWT profile's checks said no.
    #[error(transparent)]
    Jwt(#[from] authority::JwtRefused),
    /// The signature could not be made; the record of it stands.
    #[error("{0}")]
    Sign(String),
    /// The signing key is kept elsewhere, where nobody answers; the record stands.
    #[error("{0}")]
    Away(String),
    /// The view is stale, the record could not be made, there is no randomness.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl IssueRefusal {
    /// What sort of no it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotAuthorised(_) | Self::Revoked(_) => Kind::Denied,
            Self::NotMintable(_) | Self::Jwt(_) => Kind::Invalid,
            Self::NoAuthority(_) | Self::Sign(_) | Self::Away(_) => Kind::Unavailable,
            Self::X509(refused) => x509_kind(refused),
            Self::Failed(failure) => failure.kind(),
        }
    }
}

fn x509_kind(refused: &authority::Refused) -> Kind {
    match refused {
        authority::Refused::AuthorityExpired { .. } | authority::Refused::Clock => {
            Kind::Unavailable
        }
        authority::Refused::Lint(_) => Kind::Internal,
        _ => Kind::Invalid,
    }
}

impl From<IssueRefusal> for Failure {
    fn from(refusal: IssueRefusal) -> Self {
        Self::new(refusal.kind(), refusal.to_string())
    }
}
