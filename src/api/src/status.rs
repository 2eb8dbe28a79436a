//! One error taxonomy for every service, and the one place where it becomes a
//! gRPC status. A client's fate hangs on the code (an agent retries, attests
//! again or stops), so nobody else chooses codes.

use prost::Message;
use tonic::{Code, Status};

use crate::types::{self, PermissionDeniedDetails, permission_denied_details::Reason};

/// The longest message sent, in bytes: clients bound their header lists (Java's
/// at 8 KiB), and percent-encoding can triple it.
pub const MAX_MESSAGE_BYTES: usize = 1024;

const DETAILS_TYPE: &str = "type.googleapis.com/spire.api.types.PermissionDeniedDetails";

/// What sort of no it is; each kind has one status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed or breaks a rule: it can never succeed as it is.
    Invalid,
    /// What it names does not exist.
    NotFound,
    /// What it would make exists.
    Exists,
    /// The caller may not.
    Denied,
    /// Not in this state of things.
    Precondition,
    /// A limit is reached.
    Exhausted,
    /// Not now: nothing happened, try again.
    Unavailable,
    /// Nobody can say whether it happened: look before trying again.
    OutcomeUnknown,
    /// Not offered by this server.
    Unimplemented,
    /// A defect or damage on our side.
    Internal,
}

impl Kind {
    /// The kind's name in records, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Denied => "denied",
            Self::Precondition => "precondition",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
        }
    }

    /// The kind's status code. `OutcomeUnknown` is `Unknown`, which stock
    /// clients do not blindly retry.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Exists => Code::AlreadyExists,
            Self::Denied => Code::PermissionDenied,
            Self::Precondition => Code::FailedPrecondition,
            Self::Exhausted => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::OutcomeUnknown => Code::Unknown,
            Self::Unimplemented => Code::Unimplemented,
            Self::Internal => Code::Internal,
        }
    }

    /// A whole call's status.
    #[must_use]
    pub fn status(self, message: impl Into<String>) -> Status {
        Status::new(self.code(), bounded(message.into()))
    }

    /// The status of one item of a batch.
    #[must_use]
    pub fn item(self, message: impl Into<String>) -> types::Status {
        types::Status {
            code: i32::from(self.code()),
            message: bounded(message.into()),
        }
    }
}

/// The status of an item that went well.
#[must_use]
pub fn item_ok() -> types::Status {
    types::Status {
        code: i32::from(Code::Ok),
        message: "OK".into(),
    }
}

/// `google.rpc.Status`, which `grpc-status-details-bin` carries.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// A `PermissionDenied` that tells an agent what to do: stop when banned,
/// attest again otherwise.
#[must_use]
pub fn denied(reason: Reason, message: impl Into<String>) -> Status {
    let message = bounded(message.into());
    let detail = PermissionDeniedDetails {
        reason: reason.into(),
    };
    let details = RpcStatus {
        code: i32::from(Code::PermissionDenied),
        message: message.clone(),
        details: vec![prost_types::Any {
            type_url: DETAILS_TYPE.into(),
            value: detail.encode_to_vec(),
        }],
    };
    Status::with_details(
        Code::PermissionDenied,
        message,
        details.encode_to_vec().into(),
    )
}

/// Reads the reason that [`denied`] put into a status; `None` when it carries none.
#[must_use]
pub fn denial_reason(status: &Status) -> Option<Reason> {
    if status.code() != Code::PermissionDenied {
        return None;
    }
    let details = RpcStatus::decode(status.details()).ok()?;
    let any = details
        .details
        .iter()
        .find(|any| any.type_url == DETAILS_TYPE)?;
    let detail = PermissionDeniedDetails::decode(any.value.as_slice()).ok()?;
    Reason::try_from(detail.reason).ok()
}

fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        let mut end = MAX_MESSAGE_BYTES;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_carries_its_reason() {
        let status = denied(Reason::AgentBanned, "agent is banned");
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(denial_reason(&status), Some(Reason::AgentBanned));
        assert_eq!(denial_reason(&Kind::Denied.status("no")), None);
        assert_eq!(denial_reason(&Status::internal("x")), None);
    }

    #[test]
    fn details_are_encoded_as_google_rpc_status() {
        // code 7, then the message, then one Any: what every gRPC library reads.
        let status = denied(Reason::AgentBanned, "b");
        let url = u8::try_from(DETAILS_TYPE.len()).unwrap();
        let mut expected = vec![0x08, 7, 0x12, 1, b'b', 0x1a, url + 6, 0x0a, url];
        expected.extend_from_slice(DETAILS_TYPE.as_bytes());
        expected.extend_from_slice(&[0x12, 2, 0x08, 4]);
        assert_eq!(status.details(), expected);
    }

    #[test]
    fn messages_are_bounded_at_a_character() {
        let status = Kind::Invalid.status("é".repeat(2000));
        assert!(status.message().len() <= MAX_MESSAGE_BYTES);
        assert!(status.message().ends_with('é'));
    }
}
