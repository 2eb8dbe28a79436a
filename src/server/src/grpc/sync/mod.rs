//! `bulla.sync.v1.Sync`: push sync. Each agent that follows hears of its entries,
//! its bundles and its own standing as soon as they are committed.
//!
//! What changed is a set of flags per stream ([`AgentSubscription`]), never a
//! queue: the next message is made when the agent can take it, from the newest
//! view. A slow agent gets fewer and larger messages and costs no memory.

mod bundles;
mod follower;
mod pages;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use api::sync::sync_server::Sync as SyncRpc;
use api::sync::{FollowRequest, FollowResponse, Hello, follow_request};
use channel::{Draining, RemoteAddress};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use identity::SpiffeId;
use tonic::{Request, Response, Status, Streaming};

use super::caller_mistake;
use crate::authz;
use crate::failure::Kind;
use crate::server::Server;
use crate::state::State;

use follower::Follower;

#[cfg(doc)]
use crate::state::AgentSubscription;

/// How long an agent may take to say Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// The most features in a Hello.
const MAX_FEATURES: usize = 64;

/// The service.
#[derive(Clone)]
pub(super) struct SyncService {
    server: Arc<Server>,
}

impl SyncService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

async fn hello(requests: &mut Streaming<FollowRequest>) -> Result<Hello, Status> {
    let first = tokio::time::timeout(HELLO_TIMEOUT, requests.message()).await;
    let first = first.or(Err(Status::deadline_exceeded(
        "hello: the agent did not say it in time",
    )))?;
    let Some(follow_request::Message::Hello(hello)) = first
        .map_err(caller_mistake)?
        .and_then(|first| first.message)
    else {
        return Err(Kind::Invalid.status("hello: it is expected in the first message"));
    };
    if hello.version == 0 {
        return Err(Kind::Invalid.status("hello.version: it is required; this server speaks 1"));
    }
    if hello.features.len() > MAX_FEATURES {
        return Err(Kind::Invalid.status(format!("hello.features: more than {MAX_FEATURES} given")));
    }
    Ok(hello)
}

/// Notes when a stream ended, however it did.
struct Leaving {
    state: State,
    agent: SpiffeId,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.state.note_heard(&self.agent, None, "");
    }
}

#[tonic::async_trait]
impl SyncRpc for SyncService {
    type FollowStream = BoxStream<'static, Result<FollowResponse, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let agent = authz::agent(&request)?;
        let certificate = authz::certificate(&request)?;
        let draining = request.extensions().get::<Draining>().cloned();
        let remote = request.extensions().get::<RemoteAddress>();
        let address = remote.map(|remote| remote.0.ip());
        let mut requests = request.into_inner();
        let hello = hello(&mut requests).await?;
        let state = self.server.state.clone();
        state.note_heard(&agent, address, &hello.host);
        let leaving = Leaving {
            state,
            agent: agent.clone(),
        };
        let follower = Follower::start(
            Arc::clone(&self.server),
            (agent, certificate),
            &hello,
            requests,
            draining,
        )?;
        let first = Some((follower, leaving));
        let stream = stream::unfold(first, |follower| async {
            let (mut follower, leaving) = follower?;
            match follower.next().await {
                Ok(Some(message)) => {
                    let message = Some(message);
                    let next = Some((follower, leaving));
                    Some((Ok(FollowResponse { message }), next))
                }
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(stream.boxed()))
    }
}
