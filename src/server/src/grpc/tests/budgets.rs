//! What one caller can take, and what is kept from it for others.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use api::agent::{BanAgentRequest, CreateJoinTokenRequest};
use api::bundle::GetBundleRequest;
use api::keys::keys_client::KeysClient;
use api::keys::{ActRequest, StatusRequest};
use api::limits::limits_client::LimitsClient;
use api::limits::{Budget, ShowRequest};
use api::revocation::RevokeRequest;
use api::revocation::revocations_client::RevocationsClient;
use api::svid::NewJwtsvidRequest;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Response, Version};
use http_body::{Body, Frame};
use hyper::client::conn::http2::SendRequest;
use tonic::Code;

use super::*;
use crate::limits;

const GET_BUNDLE: &str = "/spire.api.server.bundle.v1.Bundle/GetBundle";
const ATTEST: &str = "/spire.api.server.agent.v1.Agent/AttestAgent";

/// The beginning of a body whose rest never comes.
struct HalfSent(Option<Bytes>);

impl HalfSent {
    /// A message that says it has `declared` bytes, of which `sent` are there.
    fn new(declared: usize, sent: usize) -> Self {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(declared).unwrap().to_be_bytes());
        bytes.resize(5 + sent, 0);
        Self(Some(bytes.into()))
    }
}

impl Body for HalfSent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

async fn raw(rig: &Rig, who: Who) -> SendRequest<HalfSent> {
    let io = TokioIo::new(pipe(rig, who));
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// Starts a call that stays half-sent; its answer, when there is one.
fn half_send(
    sender: &SendRequest<HalfSent>,
    method: &str,
    body: HalfSent,
) -> impl Future<Output = Response<Incoming>> + Send + 'static {
    let request = Request::post(format!("http://localhost{method}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    let answer = sender.clone().send_request(request);
    async move { answer.await.unwrap() }
}

fn status(answer: &Response<Incoming>) -> Code {
    let code = answer
        .headers()
        .get("grpc-status")
        .map(|code| code.as_bytes());
    code.map_or(Code::Ok, Code::from_bytes)
}

/// Completes when the row of the budget table is as it is to be.
async fn row(rig: &Rig, principal: &str, resource: &str, good: impl Fn(u64) -> bool) -> u64 {
    let mut show = LimitsClient::new(channel(rig, Who::Local).await);
    loop {
        let rows = show
            .show(ShowRequest {})
            .await
            .unwrap()
            .into_inner()
            .budgets;
        let is_it = |row: &&Budget| row.principal == principal && row.resource == resource;
        let row = rows.iter().find(is_it).unwrap();
        assert!(row.used <= row.bound, "{row:?}");
        if good(row.used) {
            return row.bound;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn s2_a_stranger_may_not_declare_more_than_its_method_takes() {
    let rig = Rig::memory().await;
    let stranger = raw(&rig, Who::Anonymous).await;
    for (method, most) in [(GET_BUNDLE, 4 << 10), (ATTEST, 256 << 10)] {
        let answer = half_send(&stranger, method, HalfSent::new(most + 1, 100)).await;
        if method == GET_BUNDLE {
            assert_eq!(status(&answer), Code::ResourceExhausted);
        }
        row(&rig, "address", "request_bytes", |used| used == 0).await;
    }
}

#[tokio::test]
async fn s2_half_sent_bodies_hold_a_bounded_share_and_end_in_time() {
    let rig = Rig::memory().await;
    let stranger = raw(&rig, Who::Anonymous).await;
    // What was proved: 96 bodies of one connection. Each says that it has as much as its
    // method takes, and sends half of it.
    let mut answers = Vec::new();
    for n in 0..96 {
        let (method, size) = if n % 2 == 0 {
            (GET_BUNDLE, 4 << 10)
        } else {
            (ATTEST, 256 << 10)
        };
        let answer = half_send(&stranger, method, HalfSent::new(size, size / 2));
        answers.push(tokio::spawn(answer));
    }
    let bound = row(&rig, "address", "request_bytes", |used| used > 500 << 10).await;
    assert_eq!(bound, 1 << 20);
    // Another address is not held up by it.
    let mut other = BundleClient::new(channel(&rig, Who::From(77)).await);
    other.get_bundle(GetBundleRequest::default()).await.unwrap();
    // All end, though the client does nothing more, and everything is given back.
    let mut open = Vec::new();
    for answer in answers {
        open.push(answer.await.unwrap());
    }
    row(&rig, "strangers", "request_bytes", |used| used == 0).await;
    row(&rig, "strangers", "calls", |used| used == 0).await;
}

#[tokio::test]
async fn s17_an_agent_with_many_calls_in_flight_does_not_hold_up_another() {
    let rig = Rig::memory().await;
    let (greedy, modest) = (rig.agent().await, rig.agent().await);
    let request = |entry: &identity::Entry| NewJwtsvidRequest {
        entry_id: entry.id.as_str().to_owned(),
        audience: vec!["a".into()],
    };
    let entry = rig.create(rig.entry(&greedy.id, "greedy")).await;
    let own = rig.create(rig.entry(&modest.id, "modest")).await;
    let mut modest = SvidClient::new(channel(&rig, Who::agent(&modest)).await);
    modest.new_jwtsvid(request(&own)).await.unwrap();
    let mut flood = FuturesUnordered::new();
    for _ in 0..8 {
        let client = SvidClient::new(channel(&rig, Who::agent(&greedy)).await);
        for _ in 0..190 {
            let (mut client, request) = (client.clone(), request(&entry));
            flood.push(tokio::spawn(async move {
                client.new_jwtsvid(request).await.map_err(|s| s.code())
            }));
        }
    }
    // The share of the greedy agent is taken, and much more of it waits.
    row(&rig, "identity", "calls", |used| used >= 64).await;
    modest.new_jwtsvid(request(&own)).await.unwrap();
    let answered = flood.iter().filter(|call| call.is_finished()).count();
    let mut outcomes = Vec::new();
    while let Some(outcome) = flood.next().await {
        outcomes.push(outcome.unwrap().map(|_| ()));
    }
    assert!(
        answered < outcomes.len(),
        "the other's call waited for all of them"
    );
    let good = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let away = |outcome: &&Result<(), Code>| **outcome == Err(Code::ResourceExhausted);
    let refused = outcomes.iter().filter(away).count();
    assert_eq!(good + refused, outcomes.len());
    assert!(good >= limits::MAX_CALLS_OF_AN_IDENTITY, "{good}");
}

/// What keeps the domain alive has a reserve: strangers have taken all they can get, and
/// bans, revocations, taints and new join tokens go through.
#[tokio::test]
async fn the_admin_socket_answers_while_strangers_have_taken_everything() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let addresses = limits::MAX_CALLS_OF_STRANGERS / limits::MAX_CALLS_OF_AN_ADDRESS;
    let mut held = Vec::new();
    for host in 0..addresses {
        let stranger = raw(&rig, Who::From(u8::try_from(host + 100).unwrap())).await;
        for _ in 0..limits::MAX_CALLS_OF_AN_ADDRESS {
            let answer = half_send(&stranger, GET_BUNDLE, HalfSent::new(4 << 10, 2 << 10));
            held.push(tokio::spawn(answer));
        }
    }
    row(&rig, "strangers", "calls", |used| used > 1_000).await;
    let local = channel(&rig, Who::Local).await;
    let mut agents = AgentClient::new(local.clone());
    agents
        .create_join_token(CreateJoinTokenRequest {
            ttl: 600,
            ..Default::default()
        })
        .await
        .unwrap();
    agents
        .ban_agent(BanAgentRequest {
            id: wire_id(agent.id.path()),
        })
        .await
        .unwrap();
    RevocationsClient::new(local.clone())
        .revoke(RevokeRequest {
            kind: "id".into(),
            value: rig.id("/leaked").as_str().to_owned(),
            reason: "a drill".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let mut keys = KeysClient::new(local);
    let status = keys.status(StatusRequest {}).await.unwrap().into_inner();
    let order = |id: &str, plan| ActRequest {
        profile: "x509".into(),
        id: id.into(),
        plan,
        ..Default::default()
    };
    let prepared = keys.prepare(order("", false)).await;
    prepared.unwrap();
    let id = &status.keys[0].id;
    keys.taint(order(id, true)).await.unwrap();
    for answer in held {
        answer.abort();
    }
}
