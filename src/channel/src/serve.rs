//! Accept loops: one HTTP service over TLS or a Unix socket, held to [`Limits`].

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use rustls::ServerConfig;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tower::Service;

use crate::{Clock, Limits};

/// Where a TCP connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddress(pub SocketAddr);

/// Tells a handler that its connection is to end soon: the listener shuts
/// down, or the connection or its peer's certificate has reached its age. A long
/// stream should then say its last word and finish within [`Limits::drain`].
#[derive(Clone, Debug)]
pub struct Draining(watch::Receiver<bool>);

impl Draining {
    /// Completes when the connection wants its streams to end.
    pub async fn wait(&mut self) {
        // An error means that the connection is gone, which is also an end.
        let _gone = self.0.wait_for(|draining| *draining).await;
    }

    /// Whether that time has come.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow()
    }
}

/// Serves `service` to TLS clients until `shutdown` completes, then drains open
/// connections within [`Limits::drain`] and returns.
pub async fn serve_tls<S, B>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: S,
    limits: Limits,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _ = (listener, tls, service, limits, clock);
    shutdown.await;
}

/// Serves `service` to local processes until `shutdown` completes, then drains
/// open connections within [`Limits::drain`] and returns. HTTP/2 with prior
/// knowledge and HTTP/1.1 are told apart by the first bytes.
pub async fn serve_unix<S, B>(
    listener: UnixListener,
    service: S,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _ = (listener, service, limits);
    shutdown.await;
}
