//! Clients of a test server: as nobody, as an administrator, and as an agent that
//! has attested with a join token.

use std::sync::Arc;

use api::agent::agent_client::AgentClient;
use api::agent::{
    AgentX509svidParams, AttestAgentRequest, CreateJoinTokenRequest, attest_agent_request,
    attest_agent_response,
};
use api::bundle::GetBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::types::{AttestationData, Spiffeid, X509svid};
use channel::{ChannelOptions, Expect, LiveBundles, LiveIdentity};
use identity::{PrivateKeyDer, SpiffeId};
use rcgen::{CertificateParams, KeyPair};
use tonic::transport::Channel;

use crate::domain::Domain;

/// A certification request for a new key, and the key.
pub fn certification_request() -> (Vec<u8>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    (request.der().to_vec(), key)
}

/// A connection to a Unix socket.
pub async fn unix(path: &std::path::Path) -> Channel {
    channel::uds_channel(path, &ChannelOptions::default())
        .await
        .unwrap()
}

/// An ID of the tests' trust domain, as it goes over the wire.
pub fn wire_id(path: &str) -> Spiffeid {
    Spiffeid {
        trust_domain: Domain::NAME.into(),
        path: path.into(),
    }
}

/// A server's address, the bundle that it is recognised by, and its admin socket.
#[derive(Clone)]
pub struct ServerEndpoint {
    address: String,
    bundles: Arc<LiveBundles>,
    admin: Channel,
}

impl ServerEndpoint {
    /// Of a domain's server.
    pub async fn of(domain: &Domain) -> Self {
        let address = format!("127.0.0.1:{}", domain.port());
        Self::at(&domain.admin_socket(), address).await
    }

    /// Of a server with an admin socket and an address.
    pub async fn at(admin_socket: &std::path::Path, address: String) -> Self {
        let admin = unix(admin_socket).await;
        let bundle = BundleClient::new(admin.clone())
            .get_bundle(GetBundleRequest::default())
            .await
            .unwrap()
            .into_inner();
        let bundles = LiveBundles::empty();
        bundles.set(Arc::new(api::convert::bundle_from_wire(&bundle).unwrap()));
        Self {
            address,
            bundles,
            admin,
        }
    }

    /// A join token, for an agent that is also known as `alias`.
    pub async fn token(&self, alias: Option<&str>) -> String {
        self.try_token(alias).await.unwrap()
    }

    /// As [`Self::token`], for tests in which it may fail.
    ///
    /// # Errors
    /// What the server said.
    pub async fn try_token(&self, alias: Option<&str>) -> Result<String, String> {
        let request = CreateJoinTokenRequest {
            ttl: 600,
            token: String::new(),
            agent_id: alias.map(wire_id),
        };
        let mut client = AgentClient::new(self.admin.clone());
        let token = client.create_join_token(request).await;
        let token = token.map_err(|status| status.to_string())?;
        Ok(token.into_inner().value)
    }

    /// A connection to the server, as nobody or with an identity.
    pub async fn connect(&self, identity: Option<Arc<LiveIdentity>>) -> Channel {
        self.try_connect(identity).await.unwrap()
    }

    /// As [`Self::connect`], for tests in which it may fail.
    ///
    /// # Errors
    /// The server does not accept the connection.
    pub async fn try_connect(
        &self,
        identity: Option<Arc<LiveIdentity>>,
    ) -> Result<Channel, channel::ConnectError> {
        let server = format!("spiffe://{}/spire/server", Domain::NAME);
        let expect = Expect {
            server: SpiffeId::parse(&server).unwrap(),
            bundles: Arc::clone(&self.bundles),
        };
        let clock = channel::Clock::new(crate::now);
        let config = channel::client_config(identity, expect, clock).unwrap();
        channel::tls_channel(&self.address, config, &ChannelOptions::default()).await
    }

    /// Attests with a token, over a connection of its own.
    pub async fn attest(&self, token: String, csr: Vec<u8>) -> X509svid {
        self.try_attest(token, csr).await.unwrap()
    }

    /// As [`Self::attest`], for tests in which it may fail.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub async fn try_attest(&self, token: String, csr: Vec<u8>) -> Result<X509svid, String> {
        let params = attest_agent_request::Params {
            data: Some(AttestationData {
                r#type: "join_token".into(),
                payload: token.into_bytes().into(),
            }),
            params: Some(AgentX509svidParams { csr: csr.into() }),
        };
        let request = AttestAgentRequest {
            step: Some(attest_agent_request::Step::Params(params)),
        };
        let channel = self
            .try_connect(None)
            .await
            .map_err(|error| format!("{error:?}"))?;
        let answer = AgentClient::new(channel)
            .attest_agent(tokio_stream::once(request))
            .await;
        let mut stream = answer.map_err(|status| status.to_string())?.into_inner();
        let message = stream
            .message()
            .await
            .map_err(|status| status.to_string())?;
        match message.and_then(|message| message.step) {
            Some(attest_agent_response::Step::Result(result)) => {
                result.svid.ok_or_else(|| "no SVID".to_owned())
            }
            _ => Err("no result".to_owned()),
        }
    }

    /// Joins, and connects as the agent that came to be.
    pub async fn join(&self, alias: &str) -> Channel {
        let (csr, key) = certification_request();
        let svid = self.attest(self.token(Some(alias)).await, csr).await;
        let chain: Vec<Arc<[u8]>> = svid.cert_chain.iter().map(|c| c[..].into()).collect();
        let identity = LiveIdentity::empty();
        identity
            .set(&chain, &PrivateKeyDer::new(&key.serialize_der()))
            .unwrap();
        self.connect(Some(identity)).await
    }
}
