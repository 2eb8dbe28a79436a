//! The TLS listener.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use identity::Timestamp;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{self, Lifetime};
use super::per_request::{OtherEnd, RemoteAddress};
use super::protocol::Protocol;
use super::{HttpService, Stop, accept_loop, descriptors};
use crate::{Clock, Limits, Peer};

/// Serves `service` to TLS clients until `shutdown` completes, then drains open
/// connections within [`Limits::drain`] and returns.
///
/// ALPN decides between HTTP/2 and HTTP/1.1. A connection ends, drained, no
/// later than its peer's certificate.
pub async fn serve_tls<S: HttpService>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: S,
    limits: Limits,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) {
    let shared = Arc::new(Shared {
        tls,
        service,
        handshakes: Semaphore::new(limits.handshakes.min(Semaphore::MAX_PERMITS)),
        accepted: AtomicU64::new(0),
        limits: limits.clone(),
        clock,
    });
    let handle = |(stream, remote), stop| one_connection(stream, remote, Arc::clone(&shared), stop);
    let descriptors = descriptors(&limits);
    accept_loop(listener, &limits, descriptors, shutdown, handle).await;
}

struct Shared<S> {
    tls: Arc<ServerConfig>,
    service: S,
    handshakes: Semaphore,
    accepted: AtomicU64,
    limits: Limits,
    clock: Clock,
}

async fn one_connection<S: HttpService>(
    stream: TcpStream,
    remote: SocketAddr,
    shared: Arc<Shared<S>>,
    mut stop: Stop,
) {
    let limit = shared.limits.handshake_timeout;
    let handshake = tokio::time::timeout(limit, handshake(stream, &shared));
    let done = tokio::select! {
        done = handshake => done,
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
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let nth = shared.accepted.fetch_add(1, Ordering::Relaxed);
    let not_after = peer.as_ref().map(|peer| peer.not_after());
    let lifetime = lifetime(&shared.limits, nth, not_after, shared.clock.now());
    connection::serve(
        stream,
        protocol,
        shared.service.clone(),
        OtherEnd::Tls(peer, RemoteAddress(remote)),
        lifetime,
        &shared.limits,
        stop,
    )
    .await;
}

/// The costly part waits its turn only after the client has said hello, so that
/// silent connections hold nobody up.
async fn handshake<S>(
    stream: TcpStream,
    shared: &Shared<S>,
) -> io::Result<(TlsStream<TcpStream>, Option<Arc<Peer>>)> {
    stream.set_nodelay(true)?;
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let _turn = shared
        .handshakes
        .acquire()
        .await
        .map_err(io::Error::other)?;
    let stream = hello.into_stream(Arc::clone(&shared.tls)).await?;
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
