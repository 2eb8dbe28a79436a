//! A stream of secrets: the caller asks, accepts and rejects; the agent answers
//! and pushes. Which form the messages have is the protocol's matter.

use std::pin::Pin;

use bytes::Bytes;
use prost::Message;
use tokio::time::Sleep;
use tonic::Status;

use super::Config;
use super::requests::Requests;
use super::secrets::Secrets;
use super::source::Source;
use crate::limits;
use crate::workload_api::Messages;

/// One of the two ways in which Envoy's discovery speaks.
pub(super) trait Protocol: Send + 'static {
    type Request: Message + Default + Send;

    /// Takes a request of the caller.
    ///
    /// # Errors
    /// It asks for more than a stream may.
    fn take(&mut self, request: Self::Request, config: &Config) -> Result<(), Status>;

    /// Whether the caller has asked for something.
    fn has_asked(&self) -> bool;

    /// What to send, if anything, now that these are the secrets.
    ///
    /// # Errors
    /// Nothing of what the caller asks for is there for it.
    fn respond(
        &mut self,
        secrets: &Secrets,
        config: &Config,
        nonce: String,
    ) -> Result<Option<Bytes>, Status>;
}

struct Open<P> {
    source: Source,
    requests: Requests,
    protocol: P,
    /// Runs from the first request to the first time the secrets are there.
    patience: Option<Pin<Box<Sleep>>>,
    is_served: bool,
}

/// The messages of a stream.
pub(super) fn messages<P: Protocol>(source: Source, requests: Requests, protocol: P) -> Messages {
    let open = Open {
        source,
        requests,
        protocol,
        patience: None,
        is_served: false,
    };
    Box::pin(futures_util::stream::unfold(Some(open), |open| async {
        let mut open = open?;
        let next = open.next().await.transpose()?;
        let rest = next.is_ok().then_some(open);
        Some((next, rest))
    }))
}

impl<P: Protocol> Open<P> {
    /// The next message; `None` when the caller has left.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.answer()? {
                return Ok(Some(message));
            }
            tokio::select! {
                request = self.requests.next() => match request? {
                    Some(request) => self.take(request)?,
                    None => return Ok(None),
                },
                changed = self.source.changed() => changed?,
                () = elapsed(&mut self.patience) => {
                    return Err(Status::unavailable(
                        "the SVID could not be issued yet; call again",
                    ));
                }
            }
        }
    }

    fn take(&mut self, request: P::Request) -> Result<(), Status> {
        self.source.charge()?;
        self.protocol.take(request, self.source.config())
    }

    fn answer(&mut self) -> Result<Option<Bytes>, Status> {
        let secrets = self.source.secrets()?;
        if !self.protocol.has_asked() {
            return Ok(None);
        }
        let Some(secrets) = secrets else {
            if !self.is_served && self.patience.is_none() {
                self.patience = Some(Box::pin(tokio::time::sleep(limits::FIRST_ANSWER)));
            }
            return Ok(None);
        };
        (self.is_served, self.patience) = (true, None);
        let nonce = self.source.nonce();
        let message = self
            .protocol
            .respond(&secrets, self.source.config(), nonce)?;
        self.source.deliver()?;
        Ok(message)
    }
}

async fn elapsed(patience: &mut Option<Pin<Box<Sleep>>>) {
    match patience {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}
