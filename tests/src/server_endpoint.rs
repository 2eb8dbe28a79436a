//! Clients of a test server: as nobody, as an administrator, and as an agent that
//! has attested with a join token.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use api::agent::agent_client::AgentClient;
use api::agent::{
    AgentX509svidParams, AttestAgentRequest, CreateJoinTokenRequest, attest_agent_request,
    attest_agent_response,
};
use api::bundle::GetBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::types::{AttestationData, Spiffeid, X509svid};
use channel::{ChannelOptions, Expect, LiveBundles, LiveIdentity};
use identity::{PrivateKeyDer, SpiffeId, Timestamp};
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
        let admin = unix(&domain.admin_socket()).await;
        let port = std::fs::read_to_string(domain.path("port")).unwrap();
        let bundle = BundleClient::new(admin.clone())
            .get_bundle(GetBundleRequest::default())
            .await
            .unwrap()
            .into_inner();
        let bundles = LiveBundles::empty();
        bundles.set(Arc::new(api::convert::bundle_from_wire(&bundle).unwrap()));
        Self {
            address: format!("127.0.0.1:{}", port.trim()),
            bundles,
            admin,
        }
    }

    /// A join token, for an agent that is also known as `alias`.
    pub async fn token(&self, alias: Option<&str>) -> String {
        let request = CreateJoinTokenRequest {
            ttl: 600,
            token: String::new(),
            agent_id: alias.map(wire_id),
        };
        let mut client = AgentClient::new(self.admin.clone());
        let token = client.create_join_token(request).await.unwrap();
        token.into_inner().value
    }

    /// A connection to the server, as nobody or with an identity.
    pub async fn connect(&self, identity: Option<Arc<LiveIdentity>>) -> Channel {
        let server = format!("spiffe://{}/spire/server", Domain::NAME);
        let expect = Expect {
            server: SpiffeId::parse(&server).unwrap(),
            bundles: Arc::clone(&self.bundles),
        };
        let clock = channel::Clock::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            Timestamp(i64::try_from(since.as_secs()).unwrap())
        });
        let config = channel::client_config(identity, expect, clock).unwrap();
        channel::tls_channel(&self.address, config, &ChannelOptions::default())
            .await
            .unwrap()
    }

    /// Attests with a token, over a connection of its own.
    pub async fn attest(&self, token: String, csr: Vec<u8>) -> X509svid {
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
        let mut client = AgentClient::new(self.connect(None).await);
        let answer = client.attest_agent(tokio_stream::once(request)).await;
        let message = answer.unwrap().into_inner().message().await.unwrap();
        match message.unwrap().step.unwrap() {
            attest_agent_response::Step::Result(result) => result.svid.unwrap(),
            attest_agent_response::Step::Challenge(_) => panic!("join tokens know no challenge"),
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
