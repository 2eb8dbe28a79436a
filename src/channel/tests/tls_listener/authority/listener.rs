//! A TLS listener on a free port, and what it takes to call it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use channel::{
    ClientAuth, Clock, Expect, Limits, LiveBundles, LiveIdentity, Peer, RemoteAddress,
    client_config, serve_tls, server_config,
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use identity::{SpiffeId, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Authority, bundle};

/// The time at which every listener starts.
pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const SERVER: &str = "spiffe://example.org/spire/server";
pub(crate) const AGENT: &str = "spiffe://example.org/spire/agent/a";

/// A listener on a free port whose service answers with the caller's ID.
pub(crate) struct Listener {
    pub(crate) address: String,
    pub(crate) identity: Arc<LiveIdentity>,
    pub(crate) bundles: Arc<LiveBundles>,
    pub(crate) now: Arc<AtomicI64>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) served: tokio::task::JoinHandle<()>,
}

impl Listener {
    pub(crate) async fn start(ca: &Authority, auth: ClientAuth, limits: Limits) -> Self {
        let identity = LiveIdentity::empty();
        let server = ca.issue("spiffe://example.org/spire/server", NOW - 60, NOW + 3600);
        identity.set(&server.chain, &server.key).unwrap();
        let bundles = LiveBundles::empty();
        bundles.set(bundle(&[ca]));
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = clock(&now);
        let config = server_config(
            Arc::clone(&identity),
            Arc::clone(&bundles),
            auth,
            clock.clone(),
        );
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let service = tower::service_fn(who_am_i);
        let shutdown = async { drop(stopped.await) };
        let served = tokio::spawn(serve_tls(
            socket,
            config.unwrap(),
            service,
            limits,
            clock,
            shutdown,
        ));
        Self {
            address,
            identity,
            bundles,
            now,
            stop: Some(stop),
            served,
        }
    }

    pub(crate) fn client(
        &self,
        own: Option<Arc<LiveIdentity>>,
        expect: &str,
    ) -> Arc<rustls::ClientConfig> {
        let expect = Expect {
            server: SpiffeId::parse(expect).unwrap(),
            bundles: Arc::clone(&self.bundles),
        };
        client_config(own, expect, clock(&self.now)).unwrap()
    }
}

fn clock(now: &Arc<AtomicI64>) -> Clock {
    let now = Arc::clone(now);
    Clock::new(move || Timestamp(now.load(Ordering::SeqCst)))
}

/// An identity that this CA vouches for.
pub(crate) fn identity(ca: &Authority, id: &str) -> Arc<LiveIdentity> {
    let svid = ca.issue(id, NOW - 60, NOW + 3600);
    let identity = LiveIdentity::empty();
    identity.set(&svid.chain, &svid.key).unwrap();
    identity
}

async fn who_am_i(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let extensions = request.extensions();
    let who = if request.uri().path() == "/where" {
        extensions.get::<RemoteAddress>().unwrap().0.to_string()
    } else {
        extensions
            .get::<Arc<Peer>>()
            .map_or_else(|| "nobody".to_owned(), |peer| peer.spiffe_id().to_string())
    };
    Ok(Response::new(Full::new(who.into())))
}
