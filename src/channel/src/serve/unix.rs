//! The Unix socket listener.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::connection::{self, Lifetime};
use super::per_request::OtherEnd;
use super::protocol::{Protocol, recognise};
use super::{HttpService, Stop, accept_loop, descriptors};
use crate::Limits;
use crate::authority_rewrite::AuthorityRewrite;
use crate::uds::{Handles, UnixPeer};

/// What a client of HTTP/1.1 is told where only HTTP/2 is served.
const ONLY_HTTP2: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    Content-Type: text/plain\r\nContent-Length: 49\r\nConnection: close\r\n\r\n\
    this socket serves gRPC, which is HTTP/2, alone.\n";

/// Serves `service` to local processes until `shutdown` completes, then drains
/// open connections within [`Limits::drain`] and returns. HTTP/2 with prior
/// knowledge and HTTP/1.1 are told apart by the first bytes; the latter is refused unless
/// [`Limits::http1`] is set.
///
/// The extension `Arc<UnixPeer>` is of whoever connected, once for the whole
/// connection; handlers attest anew on each request.
pub async fn serve_unix<S: HttpService>(
    listener: UnixListener,
    service: S,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let make_service = move |_: &Arc<UnixPeer>| service.clone();
    serve_unix_each(listener, make_service, limits, shutdown).await;
}

/// As [`serve_unix`], with a service of its own for each connection.
/// `make_service` is called as soon as the connection is accepted, before a byte
/// of it is read: the moment to remember what the process was then.
pub async fn serve_unix_each<S: HttpService>(
    listener: UnixListener,
    make_service: impl Fn(&Arc<UnixPeer>) -> S + Send + Sync + 'static,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let descriptors = descriptors(&limits);
    let handles = Handles::new(Arc::clone(&descriptors));
    let shared = Arc::new((make_service, limits.clone(), handles));
    let handle = |(stream, peer), stop| one_connection(stream, peer, Arc::clone(&shared), stop);
    accept_loop(listener, &limits, descriptors, shutdown, handle).await;
}

async fn one_connection<S: HttpService>(
    mut stream: UnixStream,
    peer: UnixPeer,
    shared: Arc<(impl Fn(&Arc<UnixPeer>) -> S, Limits, Handles)>,
    mut stop: Stop,
) {
    let (make_service, limits, handles) = &*shared;
    let Some(peer) = handles.share(peer) else {
        tracing::warn!("no descriptor is left for another process; its connection was closed");
        return;
    };
    let peer = Arc::new(peer);
    let service = make_service(&peer);
    let recognised = tokio::time::timeout(limits.handshake_timeout, recognise(&mut stream));
    let recognised = tokio::select! {
        recognised = recognised => recognised,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let Ok(Ok((protocol, prefix))) = recognised else {
        tracing::debug!(pid = peer.pid(), "a local connection sent no request");
        return;
    };
    if protocol == Protocol::Http1 && !limits.http1 {
        tracing::debug!(pid = peer.pid(), "a local connection speaks no HTTP/2");
        refuse_http1(stream, limits).await;
        return;
    }
    let lifetime = Lifetime {
        age: limits.connection_age,
        drain: limits.drain,
    };
    let served = connection::serve(
        (AuthorityRewrite::new(stream, prefix), protocol),
        service,
        OtherEnd::Unix(Arc::clone(&peer)),
        lifetime,
        limits,
        Arc::new(AtomicU64::new(0)),
        stop,
    );
    tokio::select! {
        () = served => {}
        () = peer.ending() => tracing::debug!(pid = peer.pid(), "a local connection was ended"),
    }
}

/// Says why, and reads what the client still sends: a socket that is closed with bytes
/// unread takes back the answer.
async fn refuse_http1(mut stream: UnixStream, limits: &Limits) {
    let told = async {
        stream.write_all(ONLY_HTTP2).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(u64::from(limits.header_list_bytes));
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whether the client hears it is its own affair.
    let _told = tokio::time::timeout(limits.handshake_timeout, told).await;
}
