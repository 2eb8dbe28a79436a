//! What a call of one class may cost before its request is whole: bytes and time.
//! Each row of the table names a class, so an RPC without one does not build.

use std::fmt;
use std::time::Duration;

/// What one call may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The class's name, for tables.
    pub(crate) name: &'static str,
    /// The largest request message, in bytes.
    pub(crate) message_bytes: usize,
    /// What a request body is held to in time.
    pub(crate) deadline: Deadline,
    /// Whether the call counts in its caller's share of calls at one time.
    pub(crate) counted: Counted,
}

/// By when a request must have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// The whole body, from the start of the call.
    Body(Duration),
    /// Each message, from its first byte. Between messages the stream may rest.
    Message(Duration),
    /// Each message, from when it is waited for.
    Next(Duration),
}

/// In words: `body within 5s`.
impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(within) => write!(f, "body within {within:?}"),
            Self::Message(within) => write!(f, "each message within {within:?}"),
            Self::Next(within) => write!(f, "next message within {within:?}"),
        }
    }
}

/// For how long a call counts in its caller's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Until its answer begins: what a call computes, it computes before.
    UntilAnswer,
    /// Until its answer has ended: a conversation.
    UntilEnd,
    /// Not at all: a stream that lives as long as its agent, with bounds of its own.
    Never,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Cost {
    /// What anybody may ask for without having proved anything: a name, at most.
    pub(crate) const PUBLIC: Self = Self {
        name: "public",
        message_bytes: 4 * KIB,
        deadline: Deadline::Body(seconds(5)),
        counted: Counted::UntilAnswer,
    };
    /// Node attestation: evidence and the answers to challenges.
    pub(crate) const ATTEST: Self = Self {
        name: "attest",
        message_bytes: 256 * KIB,
        deadline: Deadline::Next(seconds(10)),
        counted: Counted::UntilEnd,
    };
    /// One small thing an agent, a downstream server or a local tool asks for.
    pub(crate) const SMALL: Self = Self {
        name: "small",
        message_bytes: 256 * KIB,
        deadline: Deadline::Body(seconds(10)),
        counted: Counted::UntilAnswer,
    };
    /// A batch of keys to certify: 500 requests with RSA keys are below 1 MiB.
    pub(crate) const ISSUE: Self = Self {
        name: "issue",
        message_bytes: 2 * MIB,
        deadline: Deadline::Body(seconds(30)),
        counted: Counted::UntilAnswer,
    };
    /// The stream by which an agent follows; its first message may name what it has.
    pub(crate) const FOLLOW: Self = Self {
        name: "follow",
        message_bytes: 4 * MIB,
        deadline: Deadline::Message(seconds(30)),
        counted: Counted::Never,
    };
    /// What administrators do.
    pub(crate) const ADMINISTER: Self = Self {
        name: "administer",
        message_bytes: 4 * MIB,
        deadline: Deadline::Body(seconds(30)),
        counted: Counted::UntilAnswer,
    };
    /// Files of an administrator that come in parts.
    pub(crate) const UPLOAD: Self = Self {
        name: "upload",
        message_bytes: 4 * MIB,
        deadline: Deadline::Next(seconds(30)),
        counted: Counted::UntilAnswer,
    };
    /// Streams of stock tools on the admin socket.
    pub(crate) const TOOLS: Self = Self {
        name: "tools",
        message_bytes: 64 * KIB,
        deadline: Deadline::Message(seconds(10)),
        counted: Counted::Never,
    };
}
