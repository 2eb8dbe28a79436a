//! One question to a container engine over its Unix socket, bounded in size and
//! time: `GET /containers/{id}/json`. Redirects are not followed; what is not
//! the answer is a failure.
//!
//! What an engine says of a container does not change while the container
//! lives (labels, image and environment are fixed when it is made), and no
//! other container gets its ID. So answers are remembered for a minute, and
//! only then may a caller have to wait for the engine.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contract::{InspectError, ProcessError};
use docker::{Container, ContainerId, Engine, Kind};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Handle;

use crate::clock::Clock;

/// How long the engine may take for one answer, connecting included.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest answer. Descriptions of containers have some 10 KiB.
const ANSWER_BYTES: usize = 1024 * 1024;
/// How long an answer is remembered.
const KEPT: Duration = Duration::from_secs(60);
/// How many are; beyond that all are forgotten at once.
const REMEMBERED: usize = 1024;

/// The engine behind one socket.
pub(super) struct EngineSocket {
    kind: Kind,
    socket: PathBuf,
    clock: Clock,
    runtime: Handle,
    known: Mutex<HashMap<ContainerId, Known>>,
}

struct Known {
    container: Arc<Container>,
    until: Duration,
}

impl EngineSocket {
    /// The engine that listens at `socket`. To be called inside the runtime.
    pub(super) fn new(kind: Kind, socket: PathBuf, clock: Clock) -> Self {
        Self {
            kind,
            socket,
            clock,
            runtime: Handle::current(),
            known: Mutex::default(),
        }
    }

    async fn ask(&self, id: &ContainerId) -> Result<Option<Container>, String> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| error.to_string())?;
        let (mut requests, connection) = hyper::client::conn::http1::Builder::new()
            .max_headers(64)
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let request = Request::get(format!("/containers/{id}/json"))
                .header(header::HOST, "localhost")
                .body(Empty::<Bytes>::new())
                .map_err(|error| error.to_string())?;
            let answer = requests
                .send_request(request)
                .await
                .map_err(|error| error.to_string())?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                status => return Err(format!("it answered {status}")),
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES);
            let body = body.collect().await.map_err(|error| error.to_string())?;
            let container = Container::from_json(&body.to_bytes(), id);
            container.map(Some).map_err(|error| error.to_string())
        };
        // The connection lives as long as the exchange, and on the same thread.
        tokio::pin!(exchange);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            answer = &mut exchange => answer,
            // It can end before its last bytes were looked at.
            _ = &mut connection => exchange.await,
        }
    }

    fn remembered(&self, id: &ContainerId) -> Option<Arc<Container>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(id)?;
        (known.until > self.clock.boottime()).then(|| Arc::clone(&known.container))
    }

    fn remember(&self, id: &ContainerId, container: &Arc<Container>) {
        let until = self.clock.boottime() + KEPT;
        let container = Arc::clone(container);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(id.clone(), Known { container, until });
    }
}

impl Engine for EngineSocket {
    fn container(
        &self,
        id: &ContainerId,
        may_wait: bool,
    ) -> Result<Option<Arc<Container>>, InspectError> {
        if let Some(known) = self.remembered(id) {
            return Ok(Some(known));
        }
        if !may_wait {
            return Err(ProcessError::WouldBlock.into());
        }
        let unavailable = |why: String| {
            let (kind, socket) = (self.kind.as_str(), self.socket.display());
            InspectError::Unavailable(format!("{kind} at {socket} gave no answer: {why}"))
        };
        let asked = async { tokio::time::timeout(PATIENCE, self.ask(id)).await };
        let answer = match self.runtime.block_on(asked) {
            Ok(answer) => answer.map_err(unavailable)?,
            Err(_) => return Err(unavailable(format!("none within {PATIENCE:?}"))),
        };
        let container = answer.map(Arc::new);
        if let Some(container) = &container {
            self.remember(id, container);
        }
        Ok(container)
    }
}

#[cfg(test)]
mod tests;
