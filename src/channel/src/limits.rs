//! Every number a listener is held to, in one visible place.

use std::time::Duration;

/// What one listener allows. Start from [`Limits::server`] or
/// [`Limits::workload`] and change what you know better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// Connections open at once from one user id (Unix), or without a certificate
    /// from one IPv4 address or IPv6 network of 64 bits (TCP). One more is closed at
    /// once (Unix), or its oldest one makes room (TCP).
    pub connections_per_origin: usize,
    /// TCP only: of [`Limits::connections`], those whose TLS handshake is not
    /// finished. For one more the oldest that waits for its peer makes room, of the
    /// address that has most.
    pub pending_connections: usize,
    /// TCP only: of those, from one address; one more takes the oldest one's place.
    pub pending_per_address: usize,
    /// TCP only: of [`Limits::connections`], those without a client certificate. What
    /// is left beside these and the pending ones is kept for holders of certificates.
    pub anonymous_connections: usize,
    /// TCP only: connections open at once with certificates of one SPIFFE ID; one more
    /// takes the oldest one's place.
    pub connections_per_identity: usize,
    /// Descriptors that connections and the handles to their processes hold at most
    /// together: what the limit of open files leaves for them. Above it a connection
    /// waits in the kernel's backlog; one whose process needs a new handle is closed.
    pub descriptors: usize,
    /// TLS handshakes computed at once, of which one address has a sixteenth (but at
    /// least one); more wait, and their own time runs. Waiting for the peer takes none.
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
    /// TCP only: the same on a connection without a client certificate.
    pub anonymous_streams: u32,
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
    /// HTTP/2 frames that carry nothing (PING, SETTINGS and the like) that a connection
    /// may send at once; one more ends it.
    pub control_frames_burst: u32,
    /// How many such frames a second are allowed beyond that.
    pub control_frames_per_second: u32,
    /// Whether HTTP/1.1 is served besides HTTP/2. Where there is only gRPC it has no
    /// use, and browsers could be made to send it.
    pub http1: bool,
    /// How often an HTTP/2 peer is asked for a sign of life.
    pub keepalive_interval: Option<Duration>,
    /// How long it may take to give one.
    pub keepalive_timeout: Duration,
}

impl Limits {
    /// For the server's TCP port: many nodes, each with a few streams, gRPC alone.
    #[must_use]
    pub const fn server() -> Self {
        Self {
            connections: 20_000,
            connections_per_origin: 512,
            pending_connections: 2_048,
            pending_per_address: 1_024,
            anonymous_connections: 2_048,
            connections_per_identity: 256,
            descriptors: usize::MAX,
            handshakes: 64,
            handshake_timeout: Duration::from_secs(10),
            connection_age: Some(Duration::from_secs(180)),
            drain: Duration::from_secs(20),
            header_list_bytes: 16 * 1024,
            concurrent_streams: 100,
            anonymous_streams: 100,
            // Per connection; the number of connections bounds what all can make us hold.
            stream_window_bytes: 128 * 1024,
            connection_window_bytes: 256 * 1024,
            send_buffer_bytes: 128 * 1024,
            pending_reset_streams: 20,
            error_reset_streams: 64,
            control_frames_burst: 4_000,
            control_frames_per_second: 1_000,
            http1: false,
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
            pending_connections: usize::MAX,
            pending_per_address: usize::MAX,
            anonymous_connections: usize::MAX,
            connections_per_identity: usize::MAX,
            descriptors: usize::MAX,
            handshakes: 1_024,
            handshake_timeout: Duration::from_secs(10),
            connection_age: None,
            drain: Duration::from_secs(5),
            header_list_bytes: 16 * 1024,
            concurrent_streams: 100,
            anonymous_streams: 100,
            // Envoy's first message is about 61 KB, sent before our settings are seen.
            stream_window_bytes: 64 * 1024 - 1,
            connection_window_bytes: 128 * 1024,
            send_buffer_bytes: 64 * 1024,
            pending_reset_streams: 20,
            error_reset_streams: 64,
            control_frames_burst: 4_000,
            control_frames_per_second: 1_000,
            http1: true,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
        }
    }

    /// For so many TCP connections at most, of which strangers get a part: a quarter
    /// those whose handshake is not finished and a quarter those without a certificate,
    /// but no more of either than before; the rest is kept for holders of certificates.
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        let part = (connections / 4).max(1);
        let pending_connections = self.pending_connections.min(part);
        let anonymous_connections = self.anonymous_connections.min(part);
        let share = |all: usize, parts: usize| (all / parts).max(1);
        Self {
            connections,
            pending_connections,
            pending_per_address: self.pending_per_address.min(share(pending_connections, 2)),
            anonymous_connections,
            connections_per_origin: self
                .connections_per_origin
                .min(share(anonymous_connections, 4)),
            connections_per_identity: self.connections_per_identity.min(share(connections, 8)),
            ..self
        }
    }
}
