//! Attestation under attack, through the server's real sockets.

#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::agent::agent_client::AgentClient;
use api::agent::{
    AgentX509svidParams, AttestAgentRequest, BanAgentRequest, attest_agent_request,
    attest_agent_response,
};
use api::bundle::GetBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::types::{AttestationData, Spiffeid};
use channel::{ChannelOptions, Expect, LiveBundles};
use contract::{Prove, ProveStep};
use identity::{SpiffeId, Timestamp};
use server::config::X509PopSection;
use server::{Clock, Config, Ready};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use x509_pop::{NodeCertificate, X509PopProver};

/// Longer than any honest answer takes on a busy machine, shorter than the time after
/// which the server gives up on an attestation (30 s) or a place in its queue (10 s).
const PROMPT: Duration = Duration::from_secs(8);

/// The operator's CA, and the nodes that have certificates of it.
struct Pki(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Pki {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let key = rcgen::KeyPair::generate().unwrap();
        Self(rcgen::CertifiedIssuer::self_signed(params, key).unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "keys of a test")]
    fn node(&self) -> X509PopProver {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let random = ring::rand::SystemRandom::new();
        let (pem, key) = (certificate.pem(), key.serialize_pem());
        let node = NodeCertificate::from_pem(pem.as_bytes(), key.as_bytes(), &random);
        X509PopProver::new(node.unwrap(), random)
    }
}

/// A server that trusts the CA.
struct Running {
    ready: Ready,
    _stop: oneshot::Sender<()>,
    bundles: Arc<LiveBundles>,
}

async fn start(dir: &Path, pki: &Pki) -> Running {
    let roots = dir.join("roots.pem");
    std::fs::write(&roots, pki.0.pem()).unwrap();
    let mut config = Config::for_domain("example.org", dir.join("data"));
    config.listen = "127.0.0.1:0".into();
    config.attestors.x509_pop = Some(X509PopSection {
        mode: "external_pki".into(),
        ca_bundle_file: roots,
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let settings = config.check().unwrap();
    let stopped = async {
        let _ = stopped.await;
    };
    tokio::spawn(server::run_with(
        settings,
        Clock::machine(),
        stopped,
        move |ready| {
            let _ = tell.send(ready.clone());
        },
    ));
    let ready = told.await.expect("the server starts");
    let mut bundle = BundleClient::new(admin(&ready).await);
    let bundle = bundle.get_bundle(GetBundleRequest::default());
    let own = api::convert::bundle_from_wire(&bundle.await.unwrap().into_inner());
    let bundles = LiveBundles::empty();
    bundles.set(Arc::new(own.unwrap()));
    Running {
        ready,
        _stop: stop,
        bundles,
    }
}

async fn admin(ready: &Ready) -> Channel {
    channel::uds_channel(&ready.admin_socket, &ChannelOptions::default())
        .await
        .unwrap()
}

impl Running {
    /// A connection of its own, without a certificate.
    async fn connect(&self) -> Channel {
        let expect = Expect {
            server: SpiffeId::parse("spiffe://example.org/spire/server").unwrap(),
            bundles: Arc::clone(&self.bundles),
        };
        let clock = channel::Clock::new(|| {
            #[expect(clippy::disallowed_methods, reason = "the clock of a client")]
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            Timestamp(i64::try_from(now.as_secs()).unwrap())
        });
        let config = channel::client_config(None, expect, clock).unwrap();
        let address = self.ready.listen.to_string();
        channel::tls_channel(&address, config, &ChannelOptions::default())
            .await
            .unwrap()
    }

    async fn ban(&self, id: &Spiffeid) -> Result<(), Status> {
        let request = BanAgentRequest {
            id: Some(id.clone()),
        };
        let mut agents = AgentClient::new(admin(&self.ready).await);
        agents.ban_agent(request).await.map(drop)
    }
}

/// One attestation that has its challenge.
struct Challenged {
    send: mpsc::Sender<AttestAgentRequest>,
    answers: Streaming<api::agent::AttestAgentResponse>,
    challenge: Vec<u8>,
}

/// Shows the certificate and waits for the challenge.
async fn challenged(on: &Channel, node: &mut X509PopProver) -> Result<Challenged, Status> {
    let evidence = node.prove(ProveStep::Start).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key);
    let params = attest_agent_request::Params {
        data: Some(AttestationData {
            r#type: node.kind().into(),
            payload: evidence.as_bytes().to_vec().into(),
        }),
        params: Some(AgentX509svidParams {
            csr: csr.unwrap().der().to_vec().into(),
        }),
    };
    let (send, receive) = mpsc::channel(2);
    let step = Some(attest_agent_request::Step::Params(params));
    send.send(AttestAgentRequest { step }).await.unwrap();
    let mut client = AgentClient::new(on.clone());
    let answers = client.attest_agent(ReceiverStream::new(receive)).await?;
    let mut answers = answers.into_inner();
    let first = answers.message().await?.expect("an answer");
    match first.step.expect("a step") {
        attest_agent_response::Step::Challenge(challenge) => Ok(Challenged {
            send,
            answers,
            challenge: challenge.to_vec(),
        }),
        attest_agent_response::Step::Result(_) => panic!("attested without a challenge"),
    }
}

/// A whole attestation; the ID of the agent.
async fn attest(on: &Channel, node: &mut X509PopProver) -> Result<Spiffeid, Status> {
    let mut open = challenged(on, node).await?;
    let answer = node.prove(ProveStep::Challenge(&open.challenge)).unwrap();
    let answer = answer.as_bytes().to_vec().into();
    let step = Some(attest_agent_request::Step::ChallengeResponse(answer));
    open.send.send(AttestAgentRequest { step }).await.unwrap();
    let last = open.answers.message().await?.expect("an answer");
    match last.step.expect("a step") {
        attest_agent_response::Step::Result(result) => Ok(result.svid.unwrap().id.unwrap()),
        attest_agent_response::Step::Challenge(_) => panic!("a second challenge"),
    }
}

/// Opens as many challenges as it is let, answers none, and keeps them.
async fn pile_up(server: &Running, node: &mut X509PopProver) -> Vec<Challenged> {
    let mut open = Vec::new();
    for _ in 0..24 {
        let connection = server.connect().await;
        for _ in 0..8 {
            match tokio::time::timeout(PROMPT, challenged(&connection, node)).await {
                Ok(Ok(challenged)) => open.push(challenged),
                Ok(Err(_)) => {}
                // All that are to be had are open; the attack stands.
                Err(_elapsed) => return open,
            }
        }
    }
    open
}

/// Before, 64 challenges that nobody answered held all 64 slots for 30 s each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_a_node_that_answers_no_challenge_stops_nobody() {
    let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let server = start(dir.path(), &pki).await;
    let mut open = pile_up(&server, &mut pki.node()).await;
    let connection = server.connect().await;
    let honest = tokio::time::timeout(PROMPT, attest(&connection, &mut pki.node())).await;
    honest.expect("in good time").expect("attested");
    let refused = open.remove(0).answers.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_a_banned_node_gets_no_challenge() {
    let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let server = start(dir.path(), &pki).await;
    let connection = server.connect().await;
    let mut hostile = pki.node();
    let id = attest(&connection, &mut hostile).await.unwrap();
    let _one = challenged(&connection, &mut hostile).await.unwrap();
    server.ban(&id).await.unwrap();
    let refused = challenged(&connection, &mut hostile).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    attest(&connection, &mut pki.node()).await.unwrap();
}

/// Of twelve acknowledged bans against a node that went on attesting, five were undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_a_node_that_goes_on_attesting_does_not_undo_its_ban() {
    let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let server = Arc::new(start(dir.path(), &pki).await);
    for _ in 0..6 {
        let mut node = pki.node();
        let connection = server.connect().await;
        let id = attest(&connection, &mut node).await.unwrap();
        let hammering = tokio::spawn({
            let server = Arc::clone(&server);
            async move {
                let connection = server.connect().await;
                let mut attested = 0;
                loop {
                    match attest(&connection, &mut node).await {
                        Ok(_) => attested += 1,
                        Err(status) if status.code() == Code::PermissionDenied => break attested,
                        Err(_) => {}
                    }
                }
            }
        });
        tokio::task::yield_now().await;
        server.ban(&id).await.expect("the ban is acknowledged");
        let banned = tokio::time::timeout(PROMPT, hammering).await;
        banned.expect("it is banned, and stays so").unwrap();
        let mut again = AgentClient::new(admin(&server.ready).await);
        let request = api::agent::GetAgentRequest {
            id: Some(id),
            output_mask: None,
        };
        let node = again.get_agent(request).await.unwrap().into_inner();
        assert!(node.banned);
    }
}
