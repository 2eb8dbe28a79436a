//! The TLS listener.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use identity::Timestamp;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{self, Lifetime};
use super::connections::Connections;
use super::crowd::Place;
use super::per_request::{OtherEnd, RemoteAddress};
use super::protocol::Protocol;
use super::source::Source;
use super::turns::in_turns;
use super::{HttpService, Stop, accept_loop, descriptors};
use crate::{Clock, Limits, Peer};

/// The protocol of gRPC, as ALPN names it.
const HTTP2: &[u8] = b"h2";

/// Serves `service` to TLS clients until `shutdown` completes, then drains open
/// connections within [`Limits::drain`] and returns.
///
/// ALPN decides between HTTP/2 and HTTP/1.1, where [`Limits::http1`] allows that. A
/// connection ends, drained, no later than its peer's certificate.
pub async fn serve_tls<S: HttpService>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: S,
    limits: Limits,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) {
    let connections = Connections::new(&limits);
    let counted = (limits, connections);
    serve_tls_counted(listener, tls, service, counted, clock, shutdown).await;
}

/// As [`serve_tls`], with the connections to be seen by others. They must have been
/// made for the same limits.
pub async fn serve_tls_counted<S: HttpService>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: S,
    (limits, connections): (Limits, Arc<Connections>),
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut tls = ServerConfig::clone(&tls);
    if !limits.http1 {
        tls.alpn_protocols.retain(|protocol| protocol == HTTP2);
    }
    let shared = Arc::new(Shared {
        tls: TlsAcceptor::from(Arc::new(tls)),
        service,
        turns: Semaphore::new(limits.handshakes.clamp(1, Semaphore::MAX_PERMITS)),
        connections,
        accepted: AtomicU64::new(0),
        limits: limits.clone(),
        clock,
    });
    let handle = |(stream, remote): (TcpStream, SocketAddr), stop| {
        // Before its task runs: an accepted connection counts from the first moment.
        let source = Source::of(remote.ip());
        let place = shared.connections.pending.enter(source);
        let shared = Arc::clone(&shared);
        async move {
            match place {
                Some(place) => one_connection(stream, (remote, source), place, shared, stop).await,
                None => tracing::debug!(%source, "no room for another handshake"),
            }
        }
    };
    let descriptors = descriptors(&limits);
    accept_loop(listener, &limits, descriptors, shutdown, handle).await;
}

struct Shared<S> {
    tls: TlsAcceptor,
    service: S,
    turns: Semaphore,
    connections: Arc<Connections>,
    accepted: AtomicU64,
    limits: Limits,
    clock: Clock,
}

async fn one_connection<S: HttpService>(
    stream: TcpStream,
    (remote, source): (SocketAddr, Source),
    place: Place<Source>,
    shared: Arc<Shared<S>>,
    mut stop: Stop,
) {
    let limit = shared.limits.handshake_timeout;
    let handshake = tokio::time::timeout(limit, handshake(stream, &place, &shared));
    let done = tokio::select! {
        done = handshake => done,
        () = place.evicted() => {
            tracing::debug!(%remote, "a handshake that waited made room for another");
            return;
        }
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let (stream, peer) = match done {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => {
            tracing::debug!(%remote, %error, "TLS handshake failed");
            return;
        }
        Err(_elapsed) => {
            tracing::debug!(%remote, "TLS handshake took too long");
            return;
        }
    };
    let identity = peer.as_ref().map(|peer| peer.spiffe_id());
    let Some(established) = shared.connections.establish(identity, source) else {
        tracing::debug!(%remote, "no room for another connection");
        return;
    };
    drop(place);
    tokio::select! {
        () = converse(stream, peer, remote, &shared, stop) => {}
        () = established.evicted() => {
            tracing::debug!(%remote, "a connection made room for another");
        }
    }
}

/// Serves HTTP on a connection whose handshake is finished.
async fn converse<S: HttpService>(
    stream: TlsStream<TcpStream>,
    peer: Option<Arc<Peer>>,
    remote: SocketAddr,
    shared: &Shared<S>,
    stop: Stop,
) {
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(HTTP2) => Protocol::Http2,
        _ if shared.limits.http1 => Protocol::Http1,
        _ => {
            tracing::debug!(%remote, "a client did not ask for HTTP/2");
            return;
        }
    };
    let limits = match peer {
        Some(_) => shared.limits.clone(),
        None => Limits {
            concurrent_streams: shared.limits.anonymous_streams,
            ..shared.limits.clone()
        },
    };
    let nth = shared.accepted.fetch_add(1, Ordering::Relaxed);
    let not_after = peer.as_ref().map(|peer| peer.not_after());
    let lifetime = lifetime(&limits, nth, not_after, shared.clock.now());
    connection::serve(
        (stream, protocol),
        shared.service.clone(),
        OtherEnd::Tls(peer, RemoteAddress(remote)),
        lifetime,
        &limits,
        Arc::clone(shared.connections.floods()),
        stop,
    )
    .await;
}

async fn handshake<S>(
    stream: TcpStream,
    place: &Place<Source>,
    shared: &Shared<S>,
) -> io::Result<(TlsStream<TcpStream>, Option<Arc<Peer>>)> {
    stream.set_nodelay(true)?;
    let accepting = shared.tls.accept(stream);
    let stream = in_turns(accepting, place, &shared.turns).await?;
    let peer = Peer::of(stream.get_ref().1).map_err(io::Error::other)?;
    Ok((stream, peer))
}

/// The nth connection's time: the configured age give or take a tenth, so that
/// connections made together do not come back together, and never beyond the
/// peer's certificate, draining included.
fn lifetime(limits: &Limits, nth: u64, not_after: Option<Timestamp>, now: Timestamp) -> Lifetime {
    // Multiples of the golden ratio spread evenly whatever their number.
    let fraction = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let percent = u32::try_from(90 + ((fraction * 21) >> 32)).unwrap_or(100);
    let age = limits.connection_age.map(|age| age * percent / 100);
    let Some(not_after) = not_after else {
        return Lifetime {
            age,
            drain: limits.drain,
        };
    };
    let left = Duration::from_secs(not_after.since(now).0.into());
    let drain = limits.drain.min(left / 2);
    let until_drain = left - drain;
    Lifetime {
        age: Some(age.map_or(until_drain, |age| age.min(until_drain))),
        drain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn limits() -> Limits {
        Limits {
            connection_age: Some(Duration::from_secs(180)),
            drain: Duration::from_secs(20),
            ..Limits::server()
        }
    }

    #[test]
    fn ages_differ_by_at_most_a_tenth() {
        let ages: Vec<_> = (0..50)
            .map(|nth| lifetime(&limits(), nth, None, NOW).age.unwrap().as_millis())
            .collect();
        assert!(ages.iter().all(|age| (162_000..=198_000).contains(age)));
        assert!(ages.iter().collect::<std::collections::HashSet<_>>().len() > 15);
    }

    #[test]
    fn a_connection_ends_with_its_peers_certificate() {
        for left in [0i64, 1, 10, 40, 100, 10_000] {
            let given = lifetime(&limits(), 3, Some(Timestamp(NOW.0 + left)), NOW);
            let end = given.age.unwrap() + given.drain;
            assert!(end.as_secs() <= left.unsigned_abs(), "{left}: {given:?}");
        }
        let expired = lifetime(&limits(), 3, Some(Timestamp(NOW.0 - 5)), NOW);
        assert_eq!(expired.age, Some(Duration::ZERO));
    }
}
