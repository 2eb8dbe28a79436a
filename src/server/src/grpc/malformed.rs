//! What is the caller's mistake is called that: the library answers `Internal` to
//! bytes that are no message, and `OutOfRange` to a message that is too large.

use api::status::Kind;
use tonic::{Code, Status};

/// How the protobuf library begins to say that bytes are no message.
const NO_MESSAGE: &str = "failed to decode Protobuf message";
/// How tonic says that a message is too large.
const TOO_LARGE: &str = "message length too large";

/// The status a caller is to see.
pub(crate) fn caller_mistake(status: Status) -> Status {
    match status.code() {
        Code::Internal if status.message().starts_with(NO_MESSAGE) => {
            Kind::Invalid.status(status.message())
        }
        Code::OutOfRange if status.message().contains(TOO_LARGE) => {
            Kind::Exhausted.status(status.message())
        }
        _ => status,
    }
}
