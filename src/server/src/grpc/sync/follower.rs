//! One agent's stream, from Hello to its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api::status;
use api::sync::follow_response::Message;
use api::sync::{
    Ack, Delta, Directive, FollowRequest, Goodbye, Heartbeat, Hello, Revocations, Snapshot,
    directive, follow_request,
};
use bytes::Bytes;
use channel::Draining;
use identity::{Entry, EntryId, Node, SpiffeId};
use registry::{ViewDigest, delta};
use store::Position;
use tonic::{Status, Streaming};

use super::super::caller_mistake;
use super::bundles::Sent;
use super::pages::{Pages, What};
use super::policy::Feed;
use crate::attest::AgentDenied;
use crate::authz::{self, Certificate};
use crate::failure::Kind;
use crate::server::Server;
use crate::state::{AgentSubscription, Dirty, StreamsBehind};

/// After so long without another message the agent gets a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// When the view is too old to say anything from, it is looked at again so soon.
const STALE_RETRY: Duration = Duration::from_secs(1);
/// Agents whose streams end in order come back over this span, in milliseconds.
const RETURN_SPREAD_MS: u64 = 250;

/// One agent that follows.
pub(super) struct Follower {
    server: Arc<Server>,
    agent: SpiffeId,
    certificate: Certificate,
    requests: Streaming<FollowRequest>,
    subscription: AgentSubscription,
    draining: Option<Draining>,
    /// The entries the agent holds, or will when it has taken all pages.
    held: Vec<Arc<Entry>>,
    digest: ViewDigest,
    bundles: Sent,
    policy: Feed,
    /// Sequence of the list of revocations the agent was last sent; 0 is none.
    revocations: u64,
    pages: Option<Pages>,
    due: Dirty,
    end: Option<End>,
}

/// How the stream ends, after its last message.
enum End {
    InOrder,
    With(Status),
}

/// What the agent is, according to the newest view.
enum Standing {
    Good,
    Denied(AgentDenied),
    Superseded,
}

impl Follower {
    /// Subscribes, takes the first view and decides whether the agent has it.
    pub(super) fn start(
        server: Arc<Server>,
        (agent, certificate): (SpiffeId, Certificate),
        hello: &Hello,
        requests: Streaming<FollowRequest>,
        draining: Option<Draining>,
    ) -> Result<Self, Status> {
        // First subscribe, then look: nothing can fall between the two.
        let subscription = server.state.subscribe_agent(&agent)?;
        let view = server.state.agent_view(&agent, server.clock.now())?;
        let digest = ViewDigest::of(&view.entries);
        note_version(&server, &agent, &hello.agent_version);
        let marks = (position(view.position), digest_bytes(digest));
        let pages = if hello.view_digest == marks.1 {
            Pages::new(What::Delta, Vec::new(), Vec::new(), marks)
        } else {
            Pages::new(What::Snapshot, view.entries.clone(), Vec::new(), marks)
        };
        Ok(Self {
            server,
            agent,
            certificate,
            requests,
            subscription,
            draining,
            held: view.entries,
            digest,
            bundles: Sent::default(),
            policy: Feed::new(hello),
            revocations: 0,
            pages: Some(pages),
            due: Dirty {
                view: false,
                bundles: true,
                policy: true,
                revocations: true,
            },
            end: None,
        })
    }

    /// The next message for the agent; `None` when the stream ends in order.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Status> {
        loop {
            match self.end.take() {
                Some(End::InOrder) => return Ok(None),
                Some(End::With(status)) => return Err(status),
                None => {}
            }
            if let Some(message) = self.ready() {
                return Ok(Some(message));
            }
            let patience = if self.due.view {
                STALE_RETRY
            } else {
                HEARTBEAT
            };
            let message = tokio::select! {
                biased;
                () = drained(self.draining.as_mut()) => Some(self.goodbye("the connection ends")),
                dirty = self.subscription.changed() => {
                    self.due.view |= dirty.view;
                    self.due.bundles |= dirty.bundles;
                    self.due.policy |= dirty.policy;
                    self.due.revocations |= dirty.revocations;
                    None
                }
                request = self.requests.message() => {
                    self.take(request.map_err(caller_mistake)?)?;
                    None
                }
                () = tokio::time::sleep(patience) => Some(self.heartbeat()),
            };
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// What can be said at once: own bundle before the entries it serves, pages of
    /// one view before the next view is looked at.
    fn ready(&mut self) -> Option<Message> {
        if self.due.bundles {
            self.due.bundles = false;
            if let Some(bundles) = self.bundles.update(&self.server.state, &self.held) {
                return Some(Message::Bundles(bundles));
            }
        }
        if self.due.policy {
            self.due.policy = false;
            self.policy.look(&self.server.tokens);
        }
        if let Some(set) = self.policy.next() {
            return Some(Message::PolicySet(set));
        }
        if std::mem::take(&mut self.due.revocations)
            && let Some(revocations) = self.revocations()
        {
            return Some(Message::Revocations(revocations));
        }
        if let Some(page) = self.pages.as_mut().and_then(Pages::next) {
            self.note_sent(&page);
            return Some(page);
        }
        self.pages = None;
        if self.due.view { self.look() } else { None }
    }

    /// The list of revocations, when the agent has not been sent it; after it, what it
    /// means for the agent itself. It comes after the bundle that verifies it.
    fn revocations(&mut self) -> Option<Revocations> {
        let signed = self.server.revocations.signed()?;
        if signed.sequence <= self.revocations {
            return None;
        }
        self.revocations = signed.sequence;
        self.due.view = true;
        Some(Revocations {
            list: signed.list.clone(),
            crls: signed.crls.clone(),
        })
    }

    /// Looks at the newest view: the agent's standing first, then its entries.
    fn look(&mut self) -> Option<Message> {
        let state = &self.server.state;
        let Ok(view) = state.agent_view(&self.agent, self.server.clock.now()) else {
            // Too old to say anything from; heartbeats tell the agent its age.
            return None;
        };
        self.due.view = false;
        match self.standing(view.node.as_deref()) {
            Standing::Good => {}
            Standing::Denied(denied) => return Some(self.dismiss(&denied)),
            Standing::Superseded => {
                return Some(self.goodbye("a newer X.509-SVID of the agent is in use"));
            }
        }
        let change = delta(&self.held, &view.entries);
        if change.is_empty() {
            return None;
        }
        self.digest = digest_after(self.digest, &self.held, &change);
        self.held = view.entries;
        self.due.bundles = true;
        let marks = (position(view.position), digest_bytes(self.digest));
        self.pages = Some(Pages::new(What::Delta, change.put, change.removed, marks));
        // A new entry may federate with a bundle that the agent lacks: bundles first.
        self.ready()
    }

    fn standing(&self, node: Option<&Node>) -> Standing {
        let Some(node) = node else {
            return Standing::Denied(AgentDenied::NotAttested);
        };
        if node.banned {
            return Standing::Denied(AgentDenied::Banned);
        }
        let serial = &self.certificate.serial;
        let revoked = self.server.state.revoked();
        let checked = revoked.check_certificate(&self.agent, serial, self.certificate.not_before);
        if let Err(why) = checked {
            return Standing::Denied(AgentDenied::Revoked(why.to_string()));
        }
        let next = node.next.as_ref().map(|(serial, _)| serial);
        if node.serial == *serial || next == Some(serial) {
            Standing::Good
        } else {
            Standing::Superseded
        }
    }

    /// Tells the agent why, then ends the stream with the status that says the same.
    fn dismiss(&mut self, denied: &AgentDenied) -> Message {
        let reason = denied.to_string();
        self.end = Some(End::With(status::denied(
            authz::reason(denied),
            reason.clone(),
        )));
        let kind = if *denied == AgentDenied::Banned {
            directive::Kind::Banned
        } else {
            directive::Kind::Reattest
        };
        Message::Directive(Directive {
            kind: kind.into(),
            reason,
        })
    }

    fn goodbye(&mut self, reason: &str) -> Message {
        self.end = Some(End::InOrder);
        let random = self.server.entropy.bytes().map_or(0, u64::from_be_bytes);
        Message::Goodbye(Goodbye {
            retry_after_ms: random % RETURN_SPREAD_MS,
            reason: reason.to_owned(),
        })
    }

    fn heartbeat(&mut self) -> Message {
        if self.certificate.not_after <= self.server.clock.now() {
            return self.dismiss(&AgentDenied::Expired);
        }
        let state = &self.server.state;
        Message::Heartbeat(Heartbeat {
            view_age_ms: u64::try_from(state.view_age().as_millis()).unwrap_or(u64::MAX),
            position: position(state.position()),
        })
    }

    /// Keeps for the operator what the agent was sent; the last page says it.
    fn note_sent(&self, page: &Message) {
        let (Message::Snapshot(Snapshot { position, .. }) | Message::Delta(Delta { position, .. })) =
            page
        else {
            return;
        };
        if let Some(revision) = revision_of(position) {
            let now = self.server.clock.since_boot().as_millis();
            let now = u64::try_from(now).unwrap_or(u64::MAX);
            self.subscription.note_sent(revision, self.held.len(), now);
        }
    }

    /// Takes what the agent says; its end of the stream is the stream's end.
    fn take(&mut self, request: Option<FollowRequest>) -> Result<(), Status> {
        let Some(request) = request else {
            self.end = Some(End::InOrder);
            return Ok(());
        };
        match request.message {
            Some(follow_request::Message::Ack(Ack {
                position,
                bundle_sequence_delivered,
                bundle_sequence_replaced,
                streams_behind,
                streams_behind_count,
                bundle_sequence_stored: _,
            })) => {
                if let Some(revision) = revision_of(&position) {
                    self.subscription.acknowledge_position(revision);
                }
                let streams = StreamsBehind::told(streams_behind_count, streams_behind);
                self.subscription.note_streams_behind(streams);
                self.subscription
                    .acknowledge_replacement(bundle_sequence_replaced);
                self.subscription
                    .acknowledge_bundle(bundle_sequence_delivered);
                Ok(())
            }
            Some(follow_request::Message::Hello(_)) => {
                Err(Kind::Invalid.status("hello: it is expected in the first message alone"))
            }
            // A message of a later version of this protocol.
            None => Ok(()),
        }
    }
}

/// Completes when the connection is to end; never when nobody tells.
async fn drained(draining: Option<&mut Draining>) {
    match draining {
        Some(draining) => draining.wait().await,
        None => std::future::pending().await,
    }
}

/// Keeps the agent's version, beside the stream: it is for people to see.
fn note_version(server: &Arc<Server>, agent: &SpiffeId, version: &str) {
    let known = server
        .state
        .registry()
        .node(agent)
        .is_some_and(|node| node.agent_version == version);
    if known || version.is_empty() {
        return;
    }
    let (attestation, agent, version) = (
        server.attestation.clone(),
        agent.clone(),
        version.to_owned(),
    );
    tokio::spawn(async move {
        if let Err(error) = attestation.post_status(&agent, &version).await {
            tracing::debug!(%agent, %error, "the agent's version could not be kept");
        }
    });
}

fn digest_after(
    mut digest: ViewDigest,
    held: &[Arc<Entry>],
    change: &registry::Delta,
) -> ViewDigest {
    let put = change.put.iter().map(|entry| &entry.id);
    let changed: HashSet<&EntryId> = put.chain(&change.removed).collect();
    for entry in held.iter().filter(|entry| changed.contains(&entry.id)) {
        digest.remove(entry);
    }
    for entry in &change.put {
        digest.add(entry);
    }
    digest
}

fn digest_bytes(digest: ViewDigest) -> Bytes {
    Bytes::copy_from_slice(&digest.to_bytes())
}

/// A position as it goes over the wire, opaque to the agent.
fn position(position: Position) -> Bytes {
    let mut bytes = [0; 24];
    let (incarnation, revision) = bytes.split_at_mut(16);
    incarnation.copy_from_slice(&position.incarnation.to_be_bytes());
    revision.copy_from_slice(&position.revision.to_be_bytes());
    Bytes::copy_from_slice(&bytes)
}

/// The revision in a position; `None` in what is none.
fn revision_of(position: &[u8]) -> Option<u64> {
    let (_incarnation, revision) = position.split_at_checked(16)?;
    Some(u64::from_be_bytes(revision.try_into().ok()?))
}
