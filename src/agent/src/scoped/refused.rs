//! No token, and why.

use api::token::MintResponse;
use tonic::{Code, Status};

/// Why there is no token.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// It was decided so; the response says why.
    Decided(Box<MintResponse>),
    /// Nothing was decided.
    Status(Status),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Refused {
    /// Whether it was decided that this is not granted, other than for asking too
    /// often.
    pub(super) fn is_denial(&self) -> bool {
        match self {
            Self::Status(_) => false,
            Self::Decided(response) => {
                let error = response.error.as_ref();
                error.is_none_or(|error| error.code != "slow_down")
            }
        }
    }

    /// The refusal as a gRPC status.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Status(status) => status.clone(),
            Self::Decided(response) => {
                let code = match response.error.as_ref().map(|e| e.code.as_str()) {
                    Some("access_denied") | None => Code::PermissionDenied,
                    Some("slow_down") => Code::ResourceExhausted,
                    Some(_) => Code::InvalidArgument,
                };
                Status::new(code, self.text())
            }
        }
    }

    /// What is told to a developer.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Status(status) => status.message().to_owned(),
            Self::Decided(response) => {
                let error = response.error.clone().unwrap_or_default();
                let mut text = format!("{}: {}", error.code, error.description);
                if !response.decision_id.is_empty() {
                    text += &format!(" (decision {})", response.decision_id);
                }
                text
            }
        }
    }
}
