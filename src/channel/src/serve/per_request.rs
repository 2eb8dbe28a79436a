//! What every request carries: who sent it, and whether its connection is about
//! to end.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::ServiceExt;
use tower::util::Oneshot;

use super::HttpService;
use crate::Peer;
use crate::uds::UnixPeer;

/// Where a TCP connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddress(pub SocketAddr);

/// Tells a handler that its connection is to end soon: the listener shuts
/// down, or the connection or its peer's certificate has reached its age. A long
/// stream should then say its last word and finish within
/// [`Limits::drain`](crate::Limits::drain).
#[derive(Clone, Debug)]
pub struct Draining(pub(super) watch::Receiver<bool>);

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

/// The other end of one connection.
#[derive(Clone)]
pub(super) enum OtherEnd {
    Tls(Option<Arc<Peer>>, RemoteAddress),
    Unix(Arc<UnixPeer>),
}

/// One connection's view of the listener's service.
pub(super) struct PerRequest<S> {
    pub(super) service: S,
    pub(super) other_end: OtherEnd,
    pub(super) draining: Draining,
}

impl<S: HttpService> hyper::service::Service<Request<Incoming>> for PerRequest<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.draining.clone());
        match &self.other_end {
            OtherEnd::Tls(peer, remote) => {
                extensions.insert(*remote);
                if let Some(peer) = peer {
                    extensions.insert(Arc::clone(peer));
                }
            }
            OtherEnd::Unix(peer) => {
                extensions.insert(Arc::clone(peer));
            }
        }
        self.service.clone().oneshot(request)
    }
}
