//! The way to the server: one mutually authenticated connection that all of the
//! agent's calls share, made anew when the agent's SVID changes.

use std::sync::Arc;
use std::time::Duration;

use channel::{ChannelOptions, Expect, LiveBundles, LiveIdentity};
use identity::{SpiffeId, TrustDomain};
use rustls::ClientConfig;
use tokio::sync::Mutex;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::clock::Clock;
use crate::limits;

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody answers there.
    #[error("the server at {address} cannot be reached: {why}")]
    Connect {
        /// Where.
        address: String,
        /// Each cause, outermost first.
        why: String,
    },
    /// Somebody answers who is not the server we expect, or does not want us.
    #[error("the server at {address} and this agent do not accept each other: {why}")]
    NotRecognised {
        /// Where.
        address: String,
        /// Each cause, outermost first.
        why: String,
    },
    /// rustls refused the parameters.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// The shared connection, or the last failure to make one.
#[derive(Debug, Default)]
struct Current {
    channel: Option<Channel>,
    /// What went wrong, and when by the boot clock.
    failed: Option<(Duration, LinkError)>,
}

/// The agent's connection to its server.
#[derive(Debug)]
pub(crate) struct ServerLink {
    address: String,
    server_id: SpiffeId,
    identity: Arc<LiveIdentity>,
    bundles: Arc<LiveBundles>,
    clock: Clock,
    current: Mutex<Current>,
}

impl ServerLink {
    /// A link that is not connected yet.
    pub(crate) fn new(address: &str, trust_domain: &TrustDomain, clock: Clock) -> Self {
        Self {
            address: address.to_owned(),
            server_id: server_id(trust_domain),
            identity: LiveIdentity::empty(),
            bundles: LiveBundles::empty(),
            clock,
            current: Mutex::default(),
        }
    }

    /// The identity shown to the server.
    pub(crate) fn identity(&self) -> &Arc<LiveIdentity> {
        &self.identity
    }

    /// The bundles the server is recognised by.
    pub(crate) fn bundles(&self) -> &Arc<LiveBundles> {
        &self.bundles
    }

    /// The server's SPIFFE ID.
    pub(crate) fn server_id(&self) -> &SpiffeId {
        &self.server_id
    }

    /// The shared connection, made when there is none.
    pub(crate) async fn channel(&self) -> Result<Channel, LinkError> {
        let mut current = self.current.lock().await;
        if let Some(channel) = &current.channel {
            return Ok(channel.clone());
        }
        // Callers that waited for an attempt share its failure: a server that
        // swallows connections must not hold them up one after the other.
        let now = self.clock.boottime();
        if let Some((at, error)) = &current.failed
            && now.saturating_sub(*at) < limits::FAILURE_SHARED
        {
            return Err(error.clone());
        }
        match self.connect(Some(Arc::clone(&self.identity))).await {
            Ok(channel) => {
                current.failed = None;
                current.channel = Some(channel.clone());
                Ok(channel)
            }
            Err(error) => {
                current.failed = Some((self.clock.boottime(), error.clone()));
                Err(error)
            }
        }
    }

    /// A connection of its own without showing an identity: to enrol.
    pub(crate) async fn anonymous(&self) -> Result<Channel, LinkError> {
        self.connect(None).await
    }

    /// Makes one call over the shared connection. A server ends connections after
    /// some minutes; a call that it never read is made once more.
    pub(crate) async fn call<T, F>(&self, make: impl Fn(Channel) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let channel = self
            .channel()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let twice = async {
            match make(channel.clone()).await {
                Err(status) if channel::was_never_sent(&status) => make(channel).await,
                outcome => outcome,
            }
        };
        tokio::time::timeout(limits::SERVER_CALL, twice)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the server did not answer")))
            .map(Response::into_inner)
    }

    /// Forgets the shared connection: the next call makes a new one, with the
    /// identity and the address of that time.
    pub(crate) async fn reset(&self) {
        *self.current.lock().await = Current::default();
    }

    async fn connect(&self, identity: Option<Arc<LiveIdentity>>) -> Result<Channel, LinkError> {
        let expect = Expect {
            server: self.server_id.clone(),
            bundles: Arc::clone(&self.bundles),
        };
        let clock = self.clock.clone();
        let clock = channel::Clock::new(move || clock.now());
        let config = channel::client_config(identity, expect, clock)
            .map_err(|error| LinkError::Tls(error.to_string()))?;
        self.connect_with(config).await
    }

    /// Connects with another TLS configuration: to look at a server that is not
    /// trusted yet.
    pub(crate) async fn connect_with(
        &self,
        config: Arc<ClientConfig>,
    ) -> Result<Channel, LinkError> {
        let options = ChannelOptions {
            connect_timeout: limits::SERVER_CONNECT,
            ..ChannelOptions::default()
        };
        match channel::tls_channel(&self.address, config, &options).await {
            Ok(channel) => Ok(channel),
            Err(error) => {
                let (address, why) = (self.address.clone(), causes(&error));
                Err(match error.tls_error() {
                    Some(_) => LinkError::NotRecognised { address, why },
                    None => LinkError::Connect { address, why },
                })
            }
        }
    }
}

/// `spiffe://<trust domain>/spire/server`.
pub(crate) fn server_id(trust_domain: &TrustDomain) -> SpiffeId {
    // "/spire/server" is a valid path and adds 13 bytes to at most 264.
    SpiffeId::new(trust_domain, "/spire/server").unwrap_or_else(|_| trust_domain.id())
}

/// An error with all its causes in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
