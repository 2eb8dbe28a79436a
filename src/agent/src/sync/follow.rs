//! One stream to the server, from Hello to its end.

use std::sync::Arc;
use std::time::Duration;

use api::sync::sync_client::SyncClient;
use api::sync::{
    Ack, FollowRequest, FollowResponse, Hello, directive, follow_request, follow_response,
};
use api::types::permission_denied_details::Reason;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Status, Streaming};

use super::apply::Applier;
use crate::backoff::Backoff;
use crate::core::Core;
use crate::health::Part;
use crate::limits;

/// The version of `bulla.sync.v1` this agent speaks.
const VERSION: u32 = 1;

/// The feature by which the server sends the active policy set.
const POLICY: &str = "policy";

/// Why a stream to the server ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The node is banned.
    Banned(String),
    /// The server does not know the node any more.
    Evicted(String),
    /// The server wants the node to prove itself again.
    Reattest(String),
    /// The server asks to come back after this time.
    Goodbye(Duration),
    /// The agent has a new SVID, to be shown.
    Reconnect,
    /// Anything else.
    Lost(String),
}

/// Opens a stream and follows it until it ends.
pub(crate) async fn follow(core: &Arc<Core>, backoff: &mut Backoff) -> Ended {
    let mut renewed = std::pin::pin!(core.renewed.notified());
    renewed.as_mut().enable();
    let channel = match core.link.channel().await {
        Ok(channel) => channel,
        Err(error) => return Ended::Lost(error.to_string()),
    };
    let mut applier = Applier::new(core);
    let requests = requests(hello(core), applier.acks());
    let mut client = SyncClient::new(channel).max_decoding_message_size(limits::SERVER_MESSAGE);
    let opened = tokio::time::timeout(limits::SERVER_OPEN, client.follow(requests));
    let mut news = match opened.await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return refused(&status),
        Err(_) => return Ended::Lost("the server did not open the sync stream in time".to_owned()),
    };
    // A new stream says all of it again.
    let (mut delivered, mut replaced) = (core.hub.delivered(), core.hub.replaced());
    delivered.mark_changed();
    replaced.mark_changed();
    core.hub.retry_failed();
    let mut denials = core.link.denials();
    let mut silence = Silence::from_now(core);
    loop {
        tokio::select! {
            biased;
            () = &mut renewed => return Ended::Reconnect,
            denied = denials.changed() => {
                let status = denials.borrow_and_update().clone();
                if let (Ok(()), Some(status)) = (denied, status) {
                    return refused(&status);
                }
            }
            changed = delivered.changed() => {
                if changed.is_err() {
                    return Ended::Lost("the agent is stopping".to_owned());
                }
                let progress = delivered.borrow_and_update().clone();
                applier.delivered(progress);
            }
            changed = replaced.changed() => {
                if changed.is_err() {
                    return Ended::Lost("the agent is stopping".to_owned());
                }
                // Not in one expression: the borrow would be held while the hub is asked,
                // and the hub writes this value under its own lock.
                let sequence = *replaced.borrow_and_update();
                applier.replaced(sequence);
            }
            message = next(&mut news) => match message {
                Ok(message) => {
                    match take(core, &mut applier, message).await {
                        Some(Ended::Reattest(reason)) => return why(&mut news, reason).await,
                        Some(ended) => return ended,
                        None => {}
                    }
                    silence = Silence::from_now(core);
                    backoff.succeeded();
                }
                Err(ended) => return ended,
            },
            () = silence.is_over() => {
                let limit = limits::SERVER_SILENCE.as_secs();
                let why = format!("the server has sent nothing for {limit} s, no heartbeat either");
                return Ended::Lost(why);
            }
        }
    }
}

/// How long nothing has come. The server sends heartbeats when it has nothing to say, so a
/// stream that is silent is dead, whatever the connection below says.
struct Silence<'a> {
    core: &'a Core,
    since: Duration,
}

impl<'a> Silence<'a> {
    fn from_now(core: &'a Core) -> Self {
        Self {
            core,
            since: core.clock.boottime(),
        }
    }

    async fn is_over(&self) {
        loop {
            let passed = self.core.clock.boottime().saturating_sub(self.since);
            let Some(left) = limits::SERVER_SILENCE.checked_sub(passed) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            // Timers stand still while the machine is suspended; this clock does not.
            tokio::time::sleep(left.min(limits::SILENCE_LOOK)).await;
        }
    }
}

/// After an order to attest again the stream ends with a status that says why.
async fn why(news: &mut Streaming<FollowResponse>, reason: String) -> Ended {
    match tokio::time::timeout(limits::LAST_WORD, next(news)).await {
        Ok(Err(ended @ (Ended::Evicted(_) | Ended::Banned(_)))) => ended,
        _ => Ended::Reattest(reason),
    }
}

async fn next(news: &mut Streaming<FollowResponse>) -> Result<follow_response::Message, Ended> {
    loop {
        match news.message().await {
            // A message of a later version that this agent does not know.
            Ok(Some(FollowResponse { message: None })) => {}
            Ok(Some(FollowResponse {
                message: Some(message),
            })) => return Ok(message),
            Ok(None) => return Err(Ended::Lost("the server ended the sync stream".to_owned())),
            Err(status) => return Err(refused(&status)),
        }
    }
}

async fn take(
    core: &Core,
    applier: &mut Applier<'_>,
    message: follow_response::Message,
) -> Option<Ended> {
    use follow_response::Message;
    match message {
        Message::Snapshot(part) => {
            core.works(Part::Identity);
            applier.revocations_are_told();
            applier.snapshot(part);
        }
        Message::Delta(part) => {
            core.works(Part::Identity);
            applier.revocations_are_told();
            applier.delta(part);
        }
        Message::Bundles(bundles) => applier.bundles(bundles).await,
        Message::Revocations(list) => applier.revocations(list),
        Message::Heartbeat(beat) => applier.heartbeat(&beat),
        Message::PolicySet(part) => applier.policy_set(part).await,
        Message::Goodbye(goodbye) => {
            tracing::debug!(reason = goodbye.reason, "the server closes the sync stream");
            return Some(Ended::Goodbye(Duration::from_millis(
                goodbye.retry_after_ms,
            )));
        }
        Message::Directive(order) => match order.kind() {
            directive::Kind::Unspecified => {}
            directive::Kind::Banned => return Some(Ended::Banned(order.reason)),
            directive::Kind::Reattest => return Some(Ended::Reattest(order.reason)),
        },
    }
    core.works(Part::Sync);
    core.duties.following.done(core.clock.boottime());
    None
}

fn hello(core: &Core) -> Hello {
    let view = core.hub.view_position();
    Hello {
        version: VERSION,
        features: vec![POLICY.to_owned()],
        position: view.position,
        view_digest: view.digest,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        bundle_sequence: core.hub.own_bundle().map_or(0, |b| b.sequence),
        policy_set: core.policies.digest(),
        host: host_name(),
    }
}

/// What this machine calls itself, so that people can tell nodes apart.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().to_owned()
}

/// Hello once, then the latest acknowledgement whenever it changed: a server
/// that reads slowly skips the ones between.
fn requests(
    hello: Hello,
    acks: watch::Receiver<Ack>,
) -> impl Stream<Item = FollowRequest> + Send + 'static {
    let request = |message| FollowRequest {
        message: Some(message),
    };
    let acks =
        WatchStream::from_changes(acks).map(move |ack| request(follow_request::Message::Ack(ack)));
    tokio_stream::once(request(follow_request::Message::Hello(hello))).chain(acks)
}

/// What a refusal asks of this agent.
pub(super) fn refused(status: &Status) -> Ended {
    let said = status.message().to_owned();
    match api::status::denial_reason(status) {
        Some(Reason::AgentBanned) => Ended::Banned(said),
        Some(Reason::AgentNotAttested) => Ended::Evicted(said),
        Some(Reason::Unknown) | None if status.code() == Code::Unauthenticated => {
            Ended::Reattest(said)
        }
        Some(Reason::Unknown) | None => Ended::Lost(format!(
            "the server ended the sync stream: {said} ({})",
            status.code()
        )),
        Some(_) => Ended::Reattest(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let denied = |reason| refused(&api::status::denied(reason, "x"));
        assert_eq!(denied(Reason::AgentBanned), Ended::Banned("x".into()));
        let evicted = denied(Reason::AgentNotAttested);
        assert_eq!(evicted, Ended::Evicted("x".into()));
        for reason in [
            Reason::AgentExpired,
            Reason::AgentNotActive,
            Reason::AgentMustReattest,
        ] {
            assert_eq!(denied(reason), Ended::Reattest("x".into()));
        }
        let away = refused(&Status::unavailable("later"));
        assert!(matches!(away, Ended::Lost(_)));
    }
}
