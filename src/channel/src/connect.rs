//! Clients: tonic channels over our TLS configurations and over Unix sockets.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

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
#[error("connecting to {to} failed")]
pub struct ConnectError {
    to: String,
    #[source]
    source: tonic::transport::Error,
}

impl ConnectError {
    /// The TLS error beneath, if it was TLS that failed: the peer is reachable,
    /// but one side does not accept the other. `None` is a network failure.
    #[must_use]
    pub fn tls_error(&self) -> Option<&rustls::Error> {
        find(&self.source)
    }
}

/// Whether a call failed before any of it was sent, because the server was just
/// closing the connection (its age, a restart): it may be made again whatever it
/// does. Takes the `tonic::Status` of a call or any other error that wraps the
/// cause. gRPC in Go repeats such calls unseen; tonic does not.
#[must_use]
pub fn was_never_sent(error: &(dyn Error + 'static)) -> bool {
    find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled)
}

/// The first error of type `E` among an error and its causes.
fn find<'a, E: Error + 'static>(mut error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    loop {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error shows what it wraps only to those who ask it.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn Error + 'static));
        error = wrapped.or_else(|| error.source())?;
    }
}

/// Connects to `host:port` over TLS and waits until the handshake is done. A
/// connection lost later is made again on the next call, with the name resolved
/// and the server verified anew. Servers end connections after some minutes: a
/// call that meets that moment fails and [`was_never_sent`]. Message size limits belong to the generated
/// clients (`max_decoding_message_size`), not to the channel.
///
/// # Errors
/// The server is away, or is not who the configuration expects.
pub async fn tls_channel(
    address: &str,
    config: Arc<ClientConfig>,
    options: &ChannelOptions,
) -> Result<Channel, ConnectError> {
    let connector = TlsConnector::from(config);
    let dial = address.to_owned();
    let connect = service_fn(move |_: Uri| {
        let (connector, dial) = (connector.clone(), dial.clone());
        async move {
            let tcp = TcpStream::connect(&dial).await?;
            tcp.set_nodelay(true)?;
            // rustls wants a name; it is neither sent nor checked.
            let name = ServerName::try_from("spiffe.invalid").map_err(io::Error::other)?;
            let tls = connector.connect(name, tcp).await?;
            Ok::<_, io::Error>(TokioIo::new(tls))
        }
    });
    endpoint("https://localhost", options)
        .connect_with_connector(connect)
        .await
        .map_err(|source| ConnectError {
            to: address.to_owned(),
            source,
        })
}

/// Connects to the Unix socket at `path`.
///
/// # Errors
/// Nobody listens there, or its mode keeps us out.
pub async fn uds_channel(path: &Path, options: &ChannelOptions) -> Result<Channel, ConnectError> {
    let dial = path.to_owned();
    let connect = service_fn(move |_: Uri| {
        let dial = dial.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(dial).await?)) }
    });
    endpoint("http://localhost", options)
        .connect_with_connector(connect)
        .await
        .map_err(|source| ConnectError {
            to: path.display().to_string(),
            source,
        })
}

/// `origin` is what requests carry as scheme and authority.
fn endpoint(origin: &'static str, options: &ChannelOptions) -> Endpoint {
    // The endpoint's own scheme stays http: our connectors bring their own TLS.
    let mut endpoint = Endpoint::from_static("http://localhost")
        .origin(Uri::from_static(origin))
        .connect_timeout(options.connect_timeout)
        .http2_max_header_list_size(options.header_list_bytes)
        .keep_alive_timeout(options.keepalive_timeout);
    if let Some(timeout) = options.call_timeout {
        endpoint = endpoint.timeout(timeout);
    }
    if let Some(interval) = options.keepalive_interval {
        endpoint = endpoint
            .http2_keep_alive_interval(interval)
            .keep_alive_while_idle(true);
    }
    endpoint
}
