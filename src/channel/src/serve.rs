//! Accept loops: one HTTP service over TLS or a Unix socket, held to [`Limits`].

mod admission;
mod connection;
mod connections;
mod control_frames;
mod crowd;
mod per_request;
mod protocol;
mod source;
mod tls;
mod turns;
mod unix;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service;

use crate::Limits;
use admission::{Admission, Listen};

pub use connections::Connections;
pub use crowd::Occupancy;
pub use per_request::{Draining, RemoteAddress};
pub use source::Source;
pub use tls::{serve_tls, serve_tls_counted};
pub use unix::{serve_unix, serve_unix_each};

/// What a listener serves: an `axum::Router`, a tonic `Routes`, or the like.
/// There is nothing to implement: every fitting tower service is one.
pub trait HttpService:
    Service<
        Request<Incoming>,
        Response = Response<Self::ResponseBody>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses.
    type ResponseBody: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type ResponseBody = B;
}

/// Tells every connection of a listener to finish.
type Stop = watch::Receiver<bool>;

/// How long to wait when the process has run out of descriptors or memory:
/// accepting again at once would only burn the processor.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What a drained connection may take beyond its deadline to be torn down.
const TEARDOWN: Duration = Duration::from_secs(1);

/// Accepts and hands each connection to `handle` until `shutdown` completes;
/// then tells all to finish, waits for them, and ends those that do not.
async fn accept_loop<L, H, F>(
    listener: L,
    limits: &Limits,
    descriptors: Arc<Semaphore>,
    shutdown: impl Future<Output = ()> + Send,
    handle: H,
) where
    L: Listen,
    H: Fn(L::Io, Stop) -> F + Send,
    F: Future<Output = ()> + Send + 'static,
{
    let admission = Admission::new(limits, descriptors);
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report(ended),
            next = admission.next(&listener) => match next {
                Ok((io, slot)) => {
                    let connection = handle(io, stopped.clone());
                    connections.spawn(async move {
                        let _slot = slot;
                        connection.await;
                    });
                }
                Err(error) => {
                    // Anyone can connect and vanish; only our own state is worth a warning.
                    tracing::debug!(%error, "a connection was not accepted");
                    if is_exhaustion(&error) {
                        tracing::warn!(%error, "no connection can be accepted");
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                }
            },
        }
    }
    drop(listener);
    let _nobody_left = stop.send(true);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(limits.drain + TEARDOWN, all_ended)
        .await
        .is_err()
    {
        tracing::warn!(open = connections.len(), "connections were cut at shutdown");
    }
}

/// Room for that many descriptors.
fn descriptors(limits: &Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(
        limits.descriptors.min(Semaphore::MAX_PERMITS),
    ))
}

/// A panic ends one connection only, but never silently.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

/// Whether an error of `accept` says that the process or the machine is out of
/// something, rather than that one connection failed.
fn is_exhaustion(error: &io::Error) -> bool {
    use nix::errno::Errno;
    error.raw_os_error().is_some_and(|code| {
        matches!(
            Errno::from_raw(code),
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM
        )
    })
}
