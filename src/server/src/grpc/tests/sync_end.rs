//! How a follower's stream ends: with its standing, its SVID, or bad manners.

use api::status::denial_reason;
use api::sync::follow_response::Message;
use api::sync::{Ack, FollowRequest, Hello, directive, follow_request};
use api::types::permission_denied_details::Reason;
use tonic::Code;

use super::sync::{Follower, hello};
use super::*;
use crate::rig::{ADMIN, csr, serial_of};

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
