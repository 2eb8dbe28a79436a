//! A server that does what the tests tell it, behind the product's own TLS
//! listener.

mod acts;
mod routes;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use api::convert::{bundle_to_wire, entry_to_wire};
use api::sync::{self, FollowRequest, FollowResponse, follow_request, follow_response};
use api::{agent, issuance, svid, token, types};
use bytes::Bytes;
use channel::{ClientAuth, LiveBundles, LiveIdentity};
use futures_util::Stream;
use identity::{Entry, EntryId, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Status, Streaming};
use x509_parser::prelude::FromDer;

use super::authority::Authority;
use crate::clock::Clock;
use acts::not_attested;
use routes::Routes;

pub(super) const AGENT: &str = "spiffe://example.org/spire/agent/join_token/0123";
pub(super) const TOKEN: &str = "test-token-0123456789abcdef";

type News = mpsc::UnboundedSender<Result<FollowResponse, Status>>;

/// What the tests set and look at.
pub(super) struct State {
    pub(super) authority: Authority,
    pub(super) clock: Clock,
    pub(super) svid_seconds: AtomicI64,
    pub(super) refuse_issuance: AtomicBool,
    /// Calls are read and never answered.
    pub(super) hangs: AtomicBool,
    /// Calls are answered as if the agent had been evicted.
    pub(super) knows_no_agent: AtomicBool,
    /// Attestation is not answered now.
    pub(super) attests_nobody: AtomicBool,
    pub(super) x509_issued: AtomicU32,
    pub(super) jwt_issued: AtomicU32,
    pub(super) renewals: AtomicU32,
    pub(super) minted: watch::Sender<Vec<token::MintRequest>>,
    pub(super) acks: watch::Sender<sync::Ack>,
    pub(super) hellos: watch::Sender<Vec<sync::Hello>>,
    token_is_unused: AtomicBool,
    bundle_sequence: AtomicI64,
    entries: Mutex<Vec<Arc<Entry>>>,
    streams: Mutex<Vec<News>>,
}

/// A running server.
pub(super) struct FakeServer {
    pub(super) state: Arc<State>,
    pub(super) address: String,
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl FakeServer {
    pub(super) async fn start(clock: Clock) -> Self {
        Self::start_as(clock, "spiffe://example.org/spire/server").await
    }

    pub(super) async fn start_as(clock: Clock, id: &str) -> Self {
        let state = Arc::new(State {
            authority: Authority::new(clock.now()),
            clock,
            svid_seconds: AtomicI64::new(3600),
            refuse_issuance: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            knows_no_agent: AtomicBool::new(false),
            attests_nobody: AtomicBool::new(false),
            x509_issued: AtomicU32::new(0),
            jwt_issued: AtomicU32::new(0),
            renewals: AtomicU32::new(0),
            minted: watch::Sender::default(),
            acks: watch::Sender::default(),
            hellos: watch::Sender::default(),
            token_is_unused: AtomicBool::new(true),
            bundle_sequence: AtomicI64::new(1),
            entries: Mutex::default(),
            streams: Mutex::default(),
        });
        let mut server = Self {
            state,
            address: String::new(),
            stop: None,
            task: None,
        };
        server.listen("127.0.0.1:0", id).await;
        server
    }

    async fn listen(&mut self, address: &str, id: &str) {
        let listener = TcpListener::bind(address).await.unwrap();
        self.address = listener.local_addr().unwrap().to_string();
        let state = Arc::clone(&self.state);
        let now = state.clock.now();
        let (chain, key) =
            state
                .authority
                .leaf_with_key(id, Timestamp(now.0 - 60), Timestamp(now.0 + 864_000));
        let identity = LiveIdentity::empty();
        identity.set(&chain, &key).unwrap();
        let bundles = LiveBundles::empty();
        bundles.set(Arc::new(state.authority.bundle(1)));
        let clock = state.clock.clone();
        let clock = channel::Clock::new(move || clock.now());
        let auth = ClientAuth::Optional;
        let tls = channel::server_config(identity, bundles, auth, clock.clone()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let limits = channel::Limits {
            drain: std::time::Duration::ZERO,
            ..channel::Limits::server()
        };
        let shutdown = async move {
            let _ = stopped.await;
        };
        self.task = Some(tokio::spawn(async move {
            channel::serve_tls(listener, tls, Routes(state), limits, clock, shutdown).await;
        }));
        self.stop = Some(stop);
    }

    /// Goes away, open connections and all.
    pub(super) async fn stop(&mut self) {
        self.state.streams.lock().unwrap().clear();
        self.stop.take();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }

    /// Comes back where it was.
    pub(super) async fn come_back(&mut self) {
        let address = self.address.clone();
        self.listen(&address, "spiffe://example.org/spire/server")
            .await;
    }

    pub(super) fn put(&self, entry: &Arc<Entry>) {
        let mut entries = self.state.entries.lock().unwrap();
        entries.retain(|e| e.id != entry.id);
        entries.push(Arc::clone(entry));
        drop(entries);
        self.tell(follow_response::Message::Delta(sync::Delta {
            position: Bytes::from_static(b"later"),
            put: vec![entry_to_wire(entry, None)],
            ..Default::default()
        }));
    }

    pub(super) fn remove(&self, id: &EntryId) {
        self.state.entries.lock().unwrap().retain(|e| e.id != *id);
        self.tell(follow_response::Message::Delta(sync::Delta {
            position: Bytes::from_static(b"later"),
            removed: vec![id.to_string()],
            ..Default::default()
        }));
    }

    /// A bundle of a new sequence, with one more JWT key.
    pub(super) fn publish(&self, sequence: u64) {
        let mut bundle = self.state.authority.bundle(sequence);
        let mut key = bundle.jwt_authorities[0].clone();
        key.key_id = format!("jwt-of-{sequence}").into();
        bundle.jwt_authorities.push(key);
        self.state
            .bundle_sequence
            .store(i64::try_from(sequence).unwrap(), Ordering::SeqCst);
        self.tell(follow_response::Message::Bundles(sync::Bundles {
            own: Some(bundle_to_wire(&bundle, None)),
            federated: Vec::new(),
            access_keys: Vec::new(),
        }));
    }

    pub(super) fn order(&self, kind: sync::directive::Kind) {
        self.tell(follow_response::Message::Directive(sync::Directive {
            kind: kind.into(),
            reason: "the test says so".into(),
        }));
    }

    pub(super) fn tell(&self, message: follow_response::Message) {
        let mut streams = self.state.streams.lock().unwrap();
        streams.retain(|stream| {
            let message = Some(message.clone());
            stream.send(Ok(FollowResponse { message })).is_ok()
        });
    }
}

impl State {
    fn lifetime(&self) -> (Timestamp, Timestamp) {
        let now = self.clock.now();
        (
            now,
            Timestamp(now.0 + self.svid_seconds.load(Ordering::SeqCst)),
        )
    }

    fn agent_svid(&self, csr: &[u8]) -> Result<types::X509svid, Status> {
        let (_, csr) = x509_parser::certification_request::X509CertificationRequest::from_der(csr)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        csr.verify_signature()
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let spki = csr.certification_request_info.subject_pki.raw;
        let (from, to) = self.lifetime();
        Ok(types::X509svid {
            cert_chain: vec![self.authority.leaf(AGENT, spki, from, to)],
            expires_at: to.0,
            ..Default::default()
        })
    }

    fn attest(
        &self,
        request: agent::AttestAgentRequest,
    ) -> Result<agent::AttestAgentResponse, Status> {
        if self.attests_nobody.load(Ordering::SeqCst) {
            return Err(Status::unavailable("the test says so"));
        }
        let Some(agent::attest_agent_request::Step::Params(params)) = request.step else {
            return Err(Status::invalid_argument("no params"));
        };
        let evidence = params.data.unwrap();
        if evidence.r#type != "join_token" || evidence.payload != TOKEN {
            return Err(Status::invalid_argument("join token does not exist"));
        }
        let svid = self.agent_svid(&params.params.unwrap().csr)?;
        if !self.token_is_unused.swap(false, Ordering::SeqCst) {
            return Err(Status::invalid_argument("join token was used"));
        }
        let result = agent::attest_agent_response::Result {
            svid: Some(svid),
            reattestable: false,
        };
        let step = Some(agent::attest_agent_response::Step::Result(result));
        Ok(agent::AttestAgentResponse { step })
    }

    fn renew(
        &self,
        request: agent::RenewAgentRequest,
    ) -> Result<agent::RenewAgentResponse, Status> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        let svid = Some(self.agent_svid(&request.params.unwrap().csr)?);
        Ok(agent::RenewAgentResponse { svid })
    }

    fn entry(&self, id: &str) -> Option<Arc<Entry>> {
        let entries = self.entries.lock().unwrap();
        entries.iter().find(|e| e.id.as_str() == id).cloned()
    }

    fn issue_x509(
        &self,
        request: issuance::IssueX509Request,
    ) -> Result<issuance::IssueX509Response, Status> {
        if self.refuse_issuance.load(Ordering::SeqCst) {
            return Err(Status::unavailable("the test says so"));
        }
        if self.knows_no_agent.load(Ordering::SeqCst) {
            return Err(not_attested());
        }
        let (from, to) = self.lifetime();
        let result = |item: &issuance::issue_x509_request::Item| match self.entry(&item.entry_id) {
            None => issuance::issue_x509_response::Result {
                status: Some(types::Status {
                    code: 5,
                    message: "no such entry".into(),
                }),
                ..Default::default()
            },
            Some(entry) => {
                self.x509_issued.fetch_add(1, Ordering::SeqCst);
                let id = entry.spiffe_id.to_string();
                issuance::issue_x509_response::Result {
                    status: Some(types::Status::default()),
                    chain: vec![self.authority.leaf(&id, &item.spki, from, to)],
                    not_before: from.0,
                    expires_at: to.0,
                }
            }
        };
        Ok(issuance::IssueX509Response {
            results: request.items.iter().map(result).collect(),
        })
    }

    fn issue_jwt(
        &self,
        request: svid::NewJwtsvidRequest,
    ) -> Result<svid::NewJwtsvidResponse, Status> {
        let entry = self
            .entry(&request.entry_id)
            .ok_or_else(|| Status::not_found("no entry"))?;
        self.jwt_issued.fetch_add(1, Ordering::SeqCst);
        let (from, to) = self.lifetime();
        let id = entry.spiffe_id.to_string();
        Ok(svid::NewJwtsvidResponse {
            svid: Some(types::Jwtsvid {
                token: self.authority.token(&id, &request.audience, from, to),
                id: Some(api::convert::id_to_wire(&entry.spiffe_id)),
                expires_at: to.0,
                issued_at: from.0,
                hint: String::new(),
            }),
        })
    }

    /// Grants whatever is asked of the audience "db", and refuses the rest.
    fn mint(&self, request: token::MintRequest) -> Result<token::MintResponse, Status> {
        let entry = self.entry(&request.entry_id);
        let entry = entry.ok_or_else(|| Status::not_found("no entry"))?;
        let (from, to) = self.lifetime();
        let audience = request.audience.clone();
        self.minted.send_modify(|all| all.push(request));
        let mut answer = token::MintResponse {
            decision_id: "dec_1".into(),
            policy_set: "sha256:1".into(),
            ..Default::default()
        };
        if audience != "db" {
            answer.error = Some(token::Error {
                code: "access_denied".into(),
                description: "no policy permits it".into(),
                retry_after_seconds: 0,
            });
            answer.refused = vec![token::Refused {
                permission: "x".into(),
                code: "access_denied".into(),
                nearest: vec![token::NearMiss {
                    policy: "p1".into(),
                    failed: "context.weekday <= 5".into(),
                }],
                ..Default::default()
            }];
            return Ok(answer);
        }
        let id = entry.spiffe_id.to_string();
        answer.token = self.authority.token(&id, &[audience], from, to);
        answer.profile = "jwt-svid".into();
        answer.expires_at = to.0;
        answer.renew_at = (from.0 + to.0) / 2;
        Ok(answer)
    }

    async fn follow(
        self: Arc<Self>,
        mut requests: Streaming<FollowRequest>,
    ) -> Result<impl Stream<Item = Result<FollowResponse, Status>> + Send + 'static, Status> {
        let first = requests.message().await?.and_then(|m| m.message);
        let Some(follow_request::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (send, receive) = mpsc::unbounded_channel();
        let say = |message| {
            let message = Some(message);
            let _ = send.send(Ok(FollowResponse { message }));
        };
        let sequence = self.bundle_sequence.load(Ordering::SeqCst).unsigned_abs();
        let bundle = self.authority.bundle(sequence);
        say(follow_response::Message::Bundles(sync::Bundles {
            own: Some(bundle_to_wire(&bundle, None)),
            federated: Vec::new(),
            access_keys: Vec::new(),
        }));
        let entries = self.entries.lock().unwrap().clone();
        say(follow_response::Message::Snapshot(sync::Snapshot {
            position: Bytes::from_static(b"here"),
            entries: entries.iter().map(|e| entry_to_wire(e, None)).collect(),
            ..Default::default()
        }));
        self.streams.lock().unwrap().push(send);
        self.hellos.send_modify(|all| all.push(hello));
        let state = Arc::clone(&self);
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if let Some(follow_request::Message::Ack(ack)) = request.message {
                    state.acks.send_replace(ack);
                }
            }
        });
        Ok(tokio_stream::wrappers::UnboundedReceiverStream::new(
            receive,
        ))
    }
}
