//! Every number a listener is held to, in one visible place.

use std::time::Duration;

/// What one listener allows. Start from [`Limits::server`] or
/// [`Limits::workload`] and change what you know better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// Connections open at once from one user id (Unix) or one IP address
    /// (TCP); one more is closed at once, so that one peer cannot starve others.
    pub connections_per_origin: usize,
    /// Descriptors that connections and the handles to their processes hold at most
    /// together: what the limit of open files leaves for them. Above it a connection
    /// waits in the kernel's backlog; one whose process needs a new handle is closed.
    pub descriptors: usize,
    /// TLS handshakes running at once; more wait, and their own time runs.
    pub handshakes: usize,
    /// From accept to a finished handshake and a recognised protocol.
    pub handshake_timeout: Duration,
    /// Age at which a connection is told to go away, so that load spreads and
    /// identities are verified anew; `None` lets it live as long as its peer.
    pub connection_age: Option<Duration>,
    /// How long streams may go on after a connection was told to go away.
    pub drain: Duration,
    /// The largest header list of one request, bytes.
    pub header_list_bytes: u32,
    /// Streams (calls) open at once on one HTTP/2 connection.
    pub concurrent_streams: u32,
    /// Flow-control window of one stream, bytes: what a peer may send unread.
    pub stream_window_bytes: u32,
    /// Flow-control window of one connection, bytes.
    pub connection_window_bytes: u32,
    /// Bytes buffered for sending on one stream before the handler must wait.
    pub send_buffer_bytes: usize,
    /// Streams a client may reset before they were accepted; one more ends the
    /// connection (rapid reset, RUSTSEC-2023-0034).
    pub pending_reset_streams: usize,
    /// Streams reset because of the client's own errors; one more ends the
    /// connection (RUSTSEC-2024-0003).
    pub error_reset_streams: usize,
    /// How often an HTTP/2 peer is asked for a sign of life.
    pub keepalive_interval: Option<Duration>,
    /// How long it may take to give one.
    pub keepalive_timeout: Duration,
}

impl Limits {
    /// For the server's TCP port: many nodes, each with a few streams.
    #[must_use]
    pub const fn server() -> Self {
        Self {
            connections: 20_000,
            connections_per_origin: 20_000,
            descriptors: usize::MAX,
            handshakes: 64,
            handshake_timeout: Duration::from_secs(10),
            connection_age: Some(Duration::from_secs(180)),
            drain: Duration::from_secs(20),
            header_list_bytes: 16 * 1024,
            concurrent_streams: 100,
            // What 20,000 strangers could make us hold is this times as many.
            stream_window_bytes: 128 * 1024,
            connection_window_bytes: 256 * 1024,
            send_buffer_bytes: 128 * 1024,
            pending_reset_streams: 20,
            error_reset_streams: 64,
            keepalive_interval: Some(Duration::from_secs(30)),
            keepalive_timeout: Duration::from_secs(20),
        }
    }

    /// For Unix sockets: many local processes, each with one or two streams.
    #[must_use]
    pub const fn workload() -> Self {
        Self {
            connections: 16_384,
            connections_per_origin: 4_096,
            descriptors: usize::MAX,
            handshakes: 1_024,
            handshake_timeout: Duration::from_secs(10),
            connection_age: None,
            drain: Duration::from_secs(5),
            header_list_bytes: 16 * 1024,
            concurrent_streams: 100,
            // Envoy's first message is about 61 KB, sent before our settings are seen.
            stream_window_bytes: 64 * 1024 - 1,
            connection_window_bytes: 128 * 1024,
            send_buffer_bytes: 64 * 1024,
            pending_reset_streams: 20,
            error_reset_streams: 64,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}
