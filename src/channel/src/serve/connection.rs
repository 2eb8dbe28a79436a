//! One connection's life: serve it, tell it to go away in time, end it in time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::control_frames::ControlFrames;
use super::per_request::{Draining, OtherEnd, PerRequest};
use super::protocol::{self, Protocol};
use super::{HttpService, Stop};
use crate::Limits;

/// When a connection is told to go away, and how long it then has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Until it is told; `None` means when the listener stops.
    pub(super) age: Option<Duration>,
    /// From then until it is cut.
    pub(super) drain: Duration,
}

/// Serves HTTP on `io` until the peer ends it or its time is over. A flood of control
/// frames ends it, too, and is counted in `floods`.
pub(super) async fn serve<I, S>(
    (io, protocol): (I, Protocol),
    service: S,
    other_end: OtherEnd,
    lifetime: Lifetime,
    limits: &Limits,
    floods: Arc<AtomicU64>,
    stop: Stop,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService,
{
    let (drain, draining) = watch::channel(false);
    let service = PerRequest {
        service,
        other_end,
        draining: Draining(draining),
    };
    match protocol {
        Protocol::Http1 => {
            let connection = protocol::http1(limits).serve_connection(TokioIo::new(io), service);
            live(Box::pin(connection), lifetime, stop, &drain).await;
        }
        Protocol::Http2 => {
            let io = ControlFrames::new(io, limits, floods);
            let connection = protocol::http2(limits).serve_connection(TokioIo::new(io), service);
            live(Box::pin(connection), lifetime, stop, &drain).await;
        }
    }
}

/// Boxed, because every async fn that a connection is moved through would keep
/// room for a copy of its own: kilobytes for each idle connection.
async fn live<C: GoAway>(
    mut connection: Pin<Box<C>>,
    lifetime: Lifetime,
    mut stop: Stop,
    drain: &watch::Sender<bool>,
) {
    let aged = async {
        match lifetime.age {
            Some(age) => tokio::time::sleep(age).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = aged => None,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            drain.send_replace(true);
            connection.as_mut().go_away();
            let Ok(ended) = tokio::time::timeout(lifetime.drain, connection).await else {
                tracing::debug!("a connection did not drain in time and was cut");
                return;
            };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a connection ended"
        );
    }
}

/// A connection that can be told to finish: no new requests, open ones go on.
trait GoAway: Future<Output = hyper::Result<()>> {
    fn go_away(self: Pin<&mut Self>);
}

impl<I, S> GoAway for http1::Connection<TokioIo<I>, PerRequest<S>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService,
{
    fn go_away(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> GoAway for http2::Connection<TokioIo<I>, PerRequest<S>, TokioExecutor>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService,
{
    fn go_away(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
