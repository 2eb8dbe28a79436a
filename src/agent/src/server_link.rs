//! The way to the server: one mutually authenticated connection that all of the
//! agent's calls share, made anew when the agent's SVID changes.
//!
//! A server that hangs, drops packets or answers a byte a second is no worse for a caller
//! than one that is dead: a call waits for a connection two seconds at most, learns from
//! a failure that somebody else has just met, and ends when its connection is given up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::types::permission_denied_details::Reason;
use channel::{ChannelOptions, Expect, LiveBundles, LiveIdentity};
use identity::{Bundle, SpiffeId, TrustDomain};
use rustls::ClientConfig;
use tokio::sync::watch;
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
    /// Held by whoever makes the connection.
    connecting: tokio::sync::Mutex<()>,
    /// Counts connections that were given up.
    given_up: watch::Sender<u64>,
    /// The last answer by which the server said that it does not want this agent.
    denials: watch::Sender<Option<Status>>,
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
            connecting: tokio::sync::Mutex::default(),
            given_up: watch::Sender::new(0),
            denials: watch::Sender::new(None),
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

    /// Follows answers by which the server says that it does not know or want this agent.
    pub(crate) fn denials(&self) -> watch::Receiver<Option<Status>> {
        self.denials.subscribe()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shared connection, made when there is none: for the one who follows the server
    /// and tries again and again.
    pub(crate) async fn channel(&self) -> Result<Channel, LinkError> {
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(channel) = self.current().channel.clone() {
            return Ok(channel);
        }
        let identity = Some(Arc::clone(&self.identity));
        match self.connect(identity, Arc::clone(&self.bundles)).await {
            Ok(channel) => {
                let mut current = self.current();
                current.failed = None;
                current.channel = Some(channel.clone());
                Ok(channel)
            }
            Err(error) => Err(self.note_failure(error)),
        }
    }

    /// The shared connection for a call that somebody waits for.
    async fn channel_soon(&self) -> Result<Channel, LinkError> {
        {
            let current = self.current();
            if let Some(channel) = &current.channel {
                return Ok(channel.clone());
            }
            let now = self.clock.boottime();
            if let Some((at, error)) = &current.failed
                && now.saturating_sub(*at) < limits::FAILURE_SHARED
            {
                return Err(error.clone());
            }
        }
        let made = tokio::time::timeout(limits::CALL_CONNECT, self.channel()).await;
        made.unwrap_or_else(|_| {
            Err(self.note_failure(LinkError::Connect {
                address: self.address.clone(),
                why: "no connection was made in time".to_owned(),
            }))
        })
    }

    fn note_failure(&self, error: LinkError) -> LinkError {
        self.current().failed = Some((self.clock.boottime(), error.clone()));
        error
    }

    /// A connection of its own to the server that this bundle verifies, without showing
    /// an identity: to enrol.
    pub(crate) async fn anonymous(&self, by: Arc<Bundle>) -> Result<Channel, LinkError> {
        let bundles = LiveBundles::empty();
        bundles.set(by);
        self.connect(None, bundles).await
    }

    /// Makes one call over the shared connection. A server ends connections after
    /// some minutes; a call that it never read is made once more.
    pub(crate) async fn call<T, F>(&self, make: impl Fn(Channel) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut given_up = self.given_up.subscribe();
        let channel = self
            .channel_soon()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let twice = async {
            match make(channel.clone()).await {
                Err(status) if channel::was_never_sent(&status) => make(channel).await,
                outcome => outcome,
            }
        };
        let answer = tokio::select! {
            answer = tokio::time::timeout(limits::SERVER_CALL, twice) => answer
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("the server did not answer"))),
            _ = given_up.changed() => Err(Status::unavailable(
                "the connection to the server was lost before it answered",
            )),
        };
        let answer = answer.map(Response::into_inner);
        if let Err(status) = &answer {
            self.note_denial(status);
        }
        answer
    }

    /// Whatever call it is by which the server says that it does not want this agent,
    /// whoever follows it is told.
    fn note_denial(&self, status: &Status) {
        let reason = api::status::denial_reason(status);
        if let Some(Reason::AgentBanned | Reason::AgentNotAttested) = reason {
            self.denials.send_replace(Some(status.clone()));
        }
    }

    /// Forgets the shared connection: the next call makes a new one, with the
    /// identity and the address of that time. Calls under way on the old one go on.
    pub(crate) fn reset(&self) {
        *self.current() = Current::default();
    }

    /// Gives the shared connection up: calls under way on it end now.
    pub(crate) fn give_up(&self) {
        self.current().channel = None;
        self.given_up.send_modify(|count| *count += 1);
    }

    async fn connect(
        &self,
        identity: Option<Arc<LiveIdentity>>,
        bundles: Arc<LiveBundles>,
    ) -> Result<Channel, LinkError> {
        let expect = Expect {
            server: self.server_id.clone(),
            bundles,
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
