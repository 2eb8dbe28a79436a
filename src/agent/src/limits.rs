//! Every bound of the agent in one visible place: those an admin may set, with
//! their defaults, and those that are fixed.

use std::time::Duration;

use identity::Seconds;
use serde::{Deserialize, Serialize};

/// Bounds an admin may set, section `[limits]`. Each has a default that suits
/// one node with some hundred workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections to the workload socket at once, over all callers.
    pub connections: u32,
    /// Connections to the workload socket at once from one uid.
    pub connections_per_uid: u32,
    /// Open streams and calls at once, over all callers. One uid never has more than
    /// are free, so that however many users flood the agent, one more finds room.
    pub streams: u32,
    /// Open streams and calls at once from one uid.
    pub streams_per_uid: u32,
    /// Concurrent HTTP/2 streams on one connection.
    pub streams_per_connection: u32,
    /// Calls each second that one uid may make, over time. Counted before the
    /// caller is attested.
    pub calls_per_second_per_uid: u32,
    /// Calls that one uid may make at once before the rate above holds.
    pub call_burst_per_uid: u32,
    /// Registration entries the agent holds at most.
    pub entries: u32,
    /// JWT-SVIDs the agent keeps at most.
    pub cached_jwt_svids: u32,
    /// Bytes of JWT-SVIDs the agent keeps at most, and of scoped tokens as many again.
    /// Whose entry holds the most gives way first.
    pub cached_token_bytes: u32,
    /// New tokens (another list of audiences, other permissions) that one uid may ask
    /// for each minute, over time. Long lists cost more.
    pub new_tokens_per_minute_per_uid: u32,
    /// New tokens that one uid may ask for at once before the rate above holds.
    pub new_token_burst_per_uid: u32,
    /// Distinct callers (sets of selectors) whose answers are kept ready.
    pub views: u32,
    /// The largest request message on the workload socket, in bytes.
    pub request_bytes: u32,
    /// Audiences in one JWT-SVID request.
    pub audiences: u32,
    /// Bytes in one audience.
    pub audience_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_uid: 25_000,
            streams: 50_000,
            streams_per_uid: 25_000,
            streams_per_connection: 1_000,
            calls_per_second_per_uid: 50_000,
            call_burst_per_uid: 50_000,
            entries: 100_000,
            cached_jwt_svids: 10_000,
            cached_token_bytes: 32 * 1024 * 1024,
            new_tokens_per_minute_per_uid: 1_200,
            new_token_burst_per_uid: 100_000,
            views: 10_000,
            request_bytes: 64 * 1024,
            audiences: 32,
            audience_bytes: 1024,
        }
    }
}

impl Limits {
    /// Names the first bound that is zero, which would refuse everything.
    pub(crate) fn zero(&self) -> Option<&'static str> {
        [
            ("connections", self.connections),
            ("connections_per_uid", self.connections_per_uid),
            ("streams", self.streams),
            ("streams_per_uid", self.streams_per_uid),
            ("streams_per_connection", self.streams_per_connection),
            ("calls_per_second_per_uid", self.calls_per_second_per_uid),
            ("call_burst_per_uid", self.call_burst_per_uid),
            ("entries", self.entries),
            ("cached_jwt_svids", self.cached_jwt_svids),
            ("cached_token_bytes", self.cached_token_bytes),
            (
                "new_tokens_per_minute_per_uid",
                self.new_tokens_per_minute_per_uid,
            ),
            ("new_token_burst_per_uid", self.new_token_burst_per_uid),
            ("views", self.views),
            ("request_bytes", self.request_bytes),
            ("audiences", self.audiences),
            ("audience_bytes", self.audience_bytes),
        ]
        .iter()
        .find(|(_, value)| *value == 0)
        .map(|(name, _)| *name)
    }
}

/// Descriptors that are left for everything but workloads' connections.
pub(crate) const OTHER_DESCRIPTORS: usize = 256;
/// How long until it is tried again whether an attestor that did not answer does.
pub(crate) const ATTESTOR_RETRY: Duration = Duration::from_secs(5);
/// By when the server must have been heard again: nine of its silences.
pub(crate) const FOLLOWING_WITHIN: Duration = Duration::from_secs(180);
/// By when renewals must have been looked at again: looks are half a minute apart, and one
/// with a server that hangs takes some more.
pub(crate) const RENEWAL_WITHIN: Duration = Duration::from_secs(300);
/// By when streams that are behind must have been looked at again.
pub(crate) const STREAMS_WITHIN: Duration = Duration::from_secs(60);
/// By when what changed must be on disk.
pub(crate) const SAVING_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at the duties.
pub(crate) const DUTY_LOOK: Duration = Duration::from_secs(5);
/// A look that is later than this means that nobody got to run.
pub(crate) const DUTY_GAP: Duration = Duration::from_secs(20);
/// Keys in one issuance request; the server refuses more.
pub(crate) const ISSUE_BATCH: usize = 500;
/// How long a stream that does not take the newest bundle holds up its acknowledgement.
pub(crate) const STREAM_PATIENCE: Duration = Duration::from_secs(5);
/// After how long the connection of such a stream is ended.
pub(crate) const STREAM_STUCK: Duration = Duration::from_secs(60);
/// Between two looks at streams while any is behind.
pub(crate) const STREAM_LOOK: Duration = Duration::from_millis(500);
/// The most streams that are reported by name.
pub(crate) const STREAMS_NAMED: usize = 16;
/// How long one call to the server may take.
pub(crate) const SERVER_CALL: Duration = Duration::from_secs(30);
/// How long until an SVID is asked for again that came from a tainted authority.
pub(crate) const SUSPECT_RETRY: Seconds = Seconds(2);
/// How long the server may take to open a stream.
pub(crate) const SERVER_OPEN: Duration = Duration::from_secs(10);
/// How long the server may send nothing on an open stream: four of its heartbeats.
pub(crate) const SERVER_SILENCE: Duration = Duration::from_secs(20);
/// Between two looks at the time during a silence.
pub(crate) const SILENCE_LOOK: Duration = Duration::from_secs(1);
/// How long a stream that is about to end may take to say why.
pub(crate) const LAST_WORD: Duration = Duration::from_secs(1);
/// How long a call waits for a connection that is being made.
pub(crate) const CALL_CONNECT: Duration = Duration::from_secs(2);
/// How long making a connection to the server may take.
pub(crate) const SERVER_CONNECT: Duration = Duration::from_secs(10);
/// How long a failure to connect is the answer to calls that want to: a server that hangs
/// costs them no more time than one that is dead.
pub(crate) const FAILURE_SHARED: Duration = Duration::from_secs(1);
/// The shortest wait between two attempts to reach the server.
pub(crate) const RETRY_FLOOR: Duration = Duration::from_millis(100);
/// The longest wait between two attempts to reach the server.
pub(crate) const RETRY_CEILING: Duration = Duration::from_secs(60);
/// How long a first answer may wait for an SVID that is being issued.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// How long a timer sleeps at most before it looks at the wall clock again, so
/// that a suspend or a clock change is noticed.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Messages from the server that are larger than this are refused, in bytes.
pub(crate) const SERVER_MESSAGE: usize = 16 * 1024 * 1024;
/// The largest file the agent reads from its data folder or configuration.
pub(crate) const FILE_BYTES: u64 = 512 * 1024 * 1024;
/// The largest bundle file and join token file, in bytes.
pub(crate) const SMALL_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// X.509 authorities in one bundle.
pub(crate) const BUNDLE_AUTHORITIES: usize = 64;
/// Delegates in the configuration.
pub(crate) const DELEGATES: usize = 64;
/// SHA-256 pins in the configuration.
pub(crate) const PINS: usize = 64;
/// How long the agent waits, at a stop, for open calls to end.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);
/// Requests for tokens under way at once, for all workloads together.
pub(crate) const TOKEN_REQUESTS: usize = 1024;
/// How long a request for a token may be under way. Nobody waits that long for it.
pub(crate) const TOKEN_CALL: Duration = Duration::from_secs(10);
/// How long callers that hold no valid token wait for one, from when it was first
/// asked for.
pub(crate) const TOKEN_WAIT: Duration = Duration::from_secs(3);
/// How long until a token is asked for again whose renewal failed.
pub(crate) const TOKEN_RETRY: Duration = Duration::from_secs(1);
/// A token that is valid for no longer than this is waited for as if there were none.
pub(crate) const TOKEN_NEARLY_OVER: Seconds = Seconds(5);
/// All audiences of one JWT-SVID request together, bytes.
pub(crate) const AUDIENCES_BYTES: usize = 8 * 1024;

/// Scoped tokens kept for workloads.
pub(crate) const SCOPED_TOKENS_KEPT: usize = 10_000;

/// The kept permission catalogue, bytes.
pub(crate) const POLICY_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// The permission catalogue as the server sends it, bytes.
pub(crate) const CATALOGUE_BYTES: usize = 24 * 1024 * 1024;

/// The most bytes of certificate revocation lists that are handed to workloads, in every
/// answer to each.
pub(crate) const CRL_BYTES: usize = 2 * 1024 * 1024;

/// DPoP proofs remembered for the services of one user: some hundred a second.
pub(crate) const PROOFS_PER_USER: usize = 20_000;

/// How many users' proofs there may be before idle ones are swept out.
pub(crate) const PROOF_USERS_SWEPT: usize = 64;
