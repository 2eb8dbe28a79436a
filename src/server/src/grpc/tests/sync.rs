//! Push sync: a follower always ends up with exactly the view the registry has, is
//! told at once, and is thrown out with its standing.

use std::collections::BTreeMap;
use std::time::Duration;

use api::status::denial_reason;
use api::sync::follow_response::Message;
use api::sync::{Ack, Bundles, FollowRequest, FollowResponse, Hello, directive, follow_request};
use api::types::permission_denied_details::Reason;
use bytes::Bytes;
use identity::{Bundle, TrustDomain, X509AuthorityCertificate};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::*;
use crate::rig::{ADMIN, csr, serial_of};
use crate::state::BundlePut;

/// A follower that applies what it hears, as an agent does.
struct Follower {
    to: mpsc::Sender<FollowRequest>,
    from: Streaming<FollowResponse>,
    held: BTreeMap<String, types::Entry>,
    digest: Bytes,
    bundles: Option<Bundles>,
    /// Complete snapshots and deltas so far.
    snapshots: usize,
    deltas: usize,
    pending: Vec<types::Entry>,
}

impl Follower {
    async fn start(clients: &mut Clients, hello: Hello) -> Result<Self, Status> {
        let (to, requests) = mpsc::channel(8);
        let message = Some(follow_request::Message::Hello(hello));
        to.send(FollowRequest { message }).await.unwrap();
        let from = clients
            .sync
            .follow(ReceiverStream::new(requests))
            .await?
            .into_inner();
        Ok(Self {
            to,
            from,
            held: BTreeMap::new(),
            digest: Bytes::new(),
            bundles: None,
            snapshots: 0,
            deltas: 0,
            pending: Vec::new(),
        })
    }

    async fn next(&mut self) -> Result<Option<Message>, Status> {
        let answer = tokio::time::timeout(Duration::from_secs(20), self.from.message()).await;
        Ok(answer
            .expect("a heartbeat at least")
            .unwrap_or_else(|status| {
                panic!("{status}");
            })
            .and_then(|response| response.message))
    }

    /// Takes messages until `done` holds.
    async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            match self.next().await.unwrap().expect("the stream goes on") {
                Message::Snapshot(part) => {
                    self.pending.extend(part.entries);
                    if !part.more {
                        self.held = self.pending.drain(..).map(|e| (e.id.clone(), e)).collect();
                        self.digest = part.view_digest;
                        self.snapshots += 1;
                    }
                }
                Message::Delta(part) => {
                    self.held
                        .extend(part.put.into_iter().map(|e| (e.id.clone(), e)));
                    for id in &part.removed {
                        self.held.remove(id);
                    }
                    if !part.more {
                        self.digest = part.view_digest;
                        self.deltas += 1;
                    }
                }
                Message::Bundles(bundles) => self.bundles = Some(bundles),
                Message::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn paths(&self) -> Vec<&str> {
        let ids = self
            .held
            .values()
            .map(|entry| entry.spiffe_id.as_ref().unwrap().path.as_str());
        let mut paths: Vec<_> = ids.collect();
        paths.sort_unstable();
        paths
    }
}

fn hello() -> Hello {
    Hello {
        version: 1,
        agent_version: "0.1.0".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_follower_hears_of_its_entries_as_they_change() {
    let rig = Rig::memory().await;
    let (node, other) = (rig.agent().await, rig.agent().await);
    let web = rig.create(rig.entry(&node.id, "web")).await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    assert_eq!(follower.paths(), ["/web"]);
    // The bundle came before the entries it serves.
    assert!(follower.bundles.as_ref().unwrap().own.is_some());

    rig.create(rig.entry(&other.id, "not-mine")).await;
    rig.create(rig.entry(&node.id, "db")).await;
    follower.until(|f| f.held.len() == 2).await;
    assert_eq!(follower.paths(), ["/db", "/web"]);
    let deleted = rig
        .server
        .state
        .delete_entries(&ADMIN, vec![web.id.clone()])
        .await;
    assert!(deleted[0].is_ok());
    follower.until(|f| f.held.len() == 1).await;
    assert_eq!(follower.paths(), ["/db"]);
    let view = rig.server.state.agent_view(&node.id, START).unwrap();
    let digest = registry::ViewDigest::of(&view.entries).to_bytes();
    assert_eq!(
        follower.digest,
        digest.as_slice(),
        "kept up with step by step"
    );
}

#[tokio::test]
async fn a_follower_that_is_current_is_not_told_again() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    rig.create(rig.entry(&node.id, "web")).await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let mut first = Follower::start(&mut clients, hello()).await.unwrap();
    first.until(|f| f.snapshots == 1).await;
    let resume = || Hello {
        view_digest: first.digest.clone(),
        ..hello()
    };
    let mut second = Follower::start(&mut clients, resume()).await.unwrap();
    second.until(|f| f.deltas == 1).await;
    assert!(second.held.is_empty() && second.snapshots == 0);
    // Once something changed, the old digest is worth nothing.
    rig.create(rig.entry(&node.id, "db")).await;
    let mut third = Follower::start(&mut clients, resume()).await.unwrap();
    third.until(|f| f.snapshots == 1).await;
    assert_eq!(third.paths(), ["/db", "/web"]);
}

#[tokio::test]
async fn many_changes_reach_a_slow_follower_as_few_messages() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    for batch in 0..60 {
        // More than the connection's windows hold: 6 MiB.
        let entries = (0..100).map(|n| {
            rig.entry_with(&node.id, &format!("w{batch}-{n}"), |entry| {
                entry.hint = "h".repeat(1000)
            })
        });
        let made = rig
            .server
            .state
            .create_entries(&ADMIN, entries.collect())
            .await;
        assert!(made.iter().all(Result::is_ok));
    }
    follower.until(|f| f.held.len() == 6000).await;
    assert!(
        follower.deltas < 50,
        "{} deltas for 60 commits",
        follower.deltas
    );
    assert_eq!(follower.snapshots, 1);
}

#[tokio::test]
async fn a_large_view_comes_in_pages() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    for batch in 0..8 {
        let entries = (0..500).map(|n| {
            rig.entry_with(&node.id, &format!("w{batch}-{n}"), |entry| {
                entry.hint = "h".repeat(1000)
            })
        });
        assert!(
            rig.server
                .state
                .create_entries(&ADMIN, entries.collect())
                .await
                .iter()
                .all(Result::is_ok)
        );
    }
    let mut clients = connect(&rig, Who::agent(&node)).await;
    // Larger than the 4 MiB that a client takes in one message.
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    assert_eq!(follower.held.len(), 4000);
}

#[tokio::test]
async fn federated_bundles_follow_the_entries() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let other = TrustDomain::parse("other.test").unwrap();
    let mut bundle = Bundle::empty(other.clone());
    bundle.x509_authorities.push(X509AuthorityCertificate {
        der: b"der".as_slice().into(),
        tainted: false,
    });
    rig.server
        .state
        .put_bundle(&ADMIN, bundle.clone(), BundlePut::Create)
        .await
        .unwrap();
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    let federated = |f: &Follower| {
        f.bundles
            .as_ref()
            .map_or(0, |bundles| bundles.federated.len())
    };
    assert_eq!(federated(&follower), 0, "nothing of it concerns this agent");
    let entry = rig.entry_with(&node.id, "web", |entry| entry.federates_with = vec![other]);
    rig.create(entry).await;
    follower.until(|f| f.held.len() == 1).await;
    assert_eq!(federated(&follower), 1, "before the entry that needs it");
    bundle.sequence = 2;
    rig.server
        .state
        .put_bundle(&ADMIN, bundle, BundlePut::Update)
        .await
        .unwrap();
    follower
        .until(|f| {
            f.bundles
                .as_ref()
                .is_some_and(|b| b.federated[0].sequence_number == 2)
        })
        .await;
}

/// Reads to the end: the directive on the way, and the status the stream ends with.
async fn dismissed(follower: &mut Follower) -> (directive::Kind, Option<Reason>) {
    let mut kind = directive::Kind::Unspecified;
    loop {
        match follower.from.message().await {
            Ok(Some(response)) => {
                if let Some(Message::Directive(order)) = response.message {
                    kind = order.kind();
                }
            }
            Ok(None) => panic!("the stream ended in order"),
            Err(status) => return (kind, denial_reason(&status)),
        }
    }
}

#[tokio::test]
async fn a_ban_or_an_eviction_ends_the_stream() {
    let rig = Rig::memory().await;
    let (one, two) = (rig.agent().await, rig.agent().await);
    let mut clients = connect(&rig, Who::agent(&one)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    rig.server.attestation.ban(&ADMIN, &one.id).await.unwrap();
    let ended = dismissed(&mut follower).await;
    assert_eq!(ended, (directive::Kind::Banned, Some(Reason::AgentBanned)));

    let mut clients = connect(&rig, Who::agent(&two)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    rig.server.attestation.evict(&ADMIN, &two.id).await.unwrap();
    let ended = dismissed(&mut follower).await;
    assert_eq!(
        ended,
        (directive::Kind::Reattest, Some(Reason::AgentNotAttested))
    );
}

#[tokio::test]
async fn the_stream_of_a_retired_svid_is_closed_in_order() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    let renewed = rig
        .server
        .attestation
        .renew(&node.id, &csr())
        .await
        .unwrap();
    let next = Agent {
        id: node.id.clone(),
        serial: serial_of(&renewed),
        svid: renewed,
    };
    let mut newer = connect(&rig, Who::agent(&next)).await;
    let mut second = Follower::start(&mut newer, hello()).await.unwrap();
    second.until(|f| f.snapshots == 1).await;
    loop {
        match follower.next().await.unwrap() {
            Some(Message::Goodbye(_)) => break,
            Some(Message::Heartbeat(_) | Message::Delta(_) | Message::Bundles(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(follower.next().await.unwrap().is_none());
}

#[tokio::test]
async fn acknowledged_bundles_let_a_new_key_sign() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    assert_eq!(rig.server.state.followers_behind_bundle(), 1);
    let sequence = follower
        .bundles
        .as_ref()
        .unwrap()
        .own
        .as_ref()
        .unwrap()
        .sequence_number;
    let ack = Ack {
        bundle_sequence_stored: sequence,
        bundle_sequence_delivered: sequence,
        ..Default::default()
    };
    let message = Some(follow_request::Message::Ack(ack));
    follower.to.send(FollowRequest { message }).await.unwrap();
    while rig.server.state.followers_behind_bundle() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_no_hello_is_refused() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let bad = [
        Hello {
            version: 0,
            ..hello()
        },
        Hello {
            features: vec!["x".into(); 65],
            ..hello()
        },
    ];
    for hello in bad {
        let error = Follower::start(&mut clients, hello).await.err().unwrap();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let ack = FollowRequest {
        message: Some(follow_request::Message::Ack(Ack::default())),
    };
    let error = clients
        .sync
        .follow(tokio_stream::iter([ack]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let admin = connect(&rig, Who::Local)
        .await
        .sync
        .follow(tokio_stream::iter([]))
        .await
        .unwrap_err();
    assert_eq!(admin.code(), Code::PermissionDenied);
}
