//! The fleet as an operator sees it: who follows, how far behind, who went away.

use api::fleet::fleet_client::FleetClient;
use api::fleet::{Agent as Seen, WatchRequest, WatchResponse, agent::Contact};
use api::sync::{Ack, FollowRequest, Hello, follow_request, follow_response};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::*;

fn every_200_ms() -> WatchRequest {
    WatchRequest {
        interval_ms: 1,
        once: false,
    }
}

/// The next word about `id` that `wanted` holds of.
async fn until(
    looks: &mut Streaming<WatchResponse>,
    id: &SpiffeId,
    wanted: impl Fn(&Seen) -> bool,
) -> Seen {
    loop {
        let look = looks.message().await.unwrap().unwrap();
        let mut agents = look.agents.into_iter();
        if let Some(seen) = agents.find(|a| a.spiffe_id == id.as_str() && wanted(a)) {
            return seen;
        }
    }
}

fn say(message: follow_request::Message) -> FollowRequest {
    FollowRequest {
        message: Some(message),
    }
}

#[tokio::test]
async fn a_watcher_sees_an_agent_follow_fall_behind_catch_up_and_go() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let mut fleet = FleetClient::new(channel(&rig, Who::Local).await);
    let mut looks = fleet.watch(every_200_ms()).await.unwrap().into_inner();
    let away = until(&mut looks, &node.id, |_| true).await;
    assert_eq!((away.contact(), away.since), (Contact::Away, 0));

    let mut agent = connect(&rig, Who::agent(&node)).await;
    let (to, requests) = mpsc::channel(4);
    let hello = Hello {
        version: 1,
        ..Hello::default()
    };
    to.send(say(follow_request::Message::Hello(hello)))
        .await
        .unwrap();
    let mut news = agent
        .sync
        .follow(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    let mut position = Bytes::new();
    while position.is_empty() {
        let message = news.message().await.unwrap().unwrap().message;
        if let Some(follow_response::Message::Snapshot(snapshot)) = message {
            position = snapshot.position;
        }
    }
    let owes = |seen: &Seen| seen.revision_acknowledged < seen.revision_sent;
    let behind = until(&mut looks, &node.id, owes).await;
    assert_eq!(behind.contact(), Contact::Following);

    let ack = Ack {
        position,
        ..Ack::default()
    };
    to.send(say(follow_request::Message::Ack(ack)))
        .await
        .unwrap();
    let level = until(&mut looks, &node.id, |seen| !owes(seen)).await;
    assert_eq!(level.lag_ms, 0);

    drop((to, news, agent));
    let gone = until(&mut looks, &node.id, |seen| seen.contact() == Contact::Away);
    assert_eq!(gone.await.attestor, "join_token");
}

#[tokio::test]
async fn one_look_ends_and_watchers_are_bounded() {
    let rig = Rig::memory().await;
    let _node = rig.agent().await;
    let mut fleet = FleetClient::new(channel(&rig, Who::Local).await);
    let once = WatchRequest {
        once: true,
        ..every_200_ms()
    };
    let mut look = fleet.watch(once).await.unwrap().into_inner();
    let only = look.message().await.unwrap().unwrap();
    assert_eq!((only.agents.len(), only.server.unwrap().agents), (1, 1));
    assert!(look.message().await.unwrap().is_none());
    drop(look);

    let mut held = Vec::new();
    let refused = loop {
        match fleet.watch(every_200_ms()).await {
            Ok(stream) => held.push(stream),
            Err(status) => break status,
        }
        assert!(held.len() <= crate::limits::MAX_FLEET_WATCHERS, "unbounded");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
}
