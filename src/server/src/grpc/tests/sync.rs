//! Push sync: a follower always ends up with exactly the view the registry has, and is
//! told at once.

use std::collections::BTreeMap;
use std::time::Duration;

use api::sync::follow_response::Message;
use api::sync::{Ack, Bundles, FollowRequest, FollowResponse, Hello, follow_request};
use bytes::Bytes;
use identity::{Bundle, TrustDomain, X509AuthorityCertificate};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::*;
use crate::rig::ADMIN;
use crate::state::BundlePut;

/// A follower that applies what it hears, as an agent does.
pub(super) struct Follower {
    to: mpsc::Sender<FollowRequest>,
    pub(super) from: Streaming<FollowResponse>,
    pub(super) held: BTreeMap<String, types::Entry>,
    pub(super) digest: Bytes,
    bundles: Option<Bundles>,
    /// Complete snapshots and deltas so far.
    pub(super) snapshots: usize,
    deltas: usize,
    pending: Vec<types::Entry>,
    /// A planted bug, to show that the comparison of views can fail.
    pub(super) forgets_removals: bool,
}

impl Follower {
    pub(super) async fn start(clients: &mut Clients, hello: Hello) -> Result<Self, Status> {
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
            forgets_removals: false,
        })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Message>, Status> {
        let answer = tokio::time::timeout(Duration::from_secs(20), self.from.message()).await;
        Ok(answer
            .expect("a heartbeat at least")
            .unwrap_or_else(|status| {
                panic!("{status}");
            })
            .and_then(|response| response.message))
    }

    /// Takes messages until `done` holds.
    pub(super) async fn until(&mut self, done: impl Fn(&Self) -> bool) {
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
                    for id in part.removed.iter().filter(|_| !self.forgets_removals) {
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

pub(super) fn hello() -> Hello {
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

#[tokio::test]
async fn acknowledged_bundles_let_a_new_key_sign() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.until(|f| f.snapshots == 1).await;
    assert_eq!(rig.server.state.agents_behind_bundle(), 1);
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
    while rig.server.state.agents_behind_bundle() > 0 {
        tokio::task::yield_now().await;
    }
}
