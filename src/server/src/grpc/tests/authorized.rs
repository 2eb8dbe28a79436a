//! Entries for agents that poll: their own and nothing else, whole or in pages.

use api::entry::{
    CountEntriesRequest, GetAuthorizedEntriesRequest, SyncAuthorizedEntriesRequest,
    SyncAuthorizedEntriesResponse,
};
use records::{AuditKind, AuditOutcome};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::*;

#[tokio::test]
async fn an_agent_sees_its_own_entries_alone() {
    let rig = Rig::memory().await;
    let (mine, other) = (rig.agent().await, rig.agent().await);
    rig.create(rig.entry(&mine.id, "web")).await;
    rig.create(rig.entry(&other.id, "db")).await;
    let mut agent = connect(&rig, Who::agent(&mine)).await;
    let request = GetAuthorizedEntriesRequest::default();
    let entries = agent
        .entries
        .get_authorized_entries(request)
        .await
        .unwrap()
        .into_inner()
        .entries;
    let paths: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.spiffe_id.unwrap().path)
        .collect();
    assert_eq!(paths, ["/web"]);
    // And it is no admin.
    let error = agent
        .entries
        .count_entries(CountEntriesRequest { filter: None })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    assert_eq!(rig.count(AuditKind::Refusal, AuditOutcome::Refused), 1);
}

struct Paged {
    to: mpsc::Sender<SyncAuthorizedEntriesRequest>,
    from: Streaming<SyncAuthorizedEntriesResponse>,
}

async fn paged(clients: &mut Clients) -> Paged {
    let (to, requests) = mpsc::channel(4);
    to.send(SyncAuthorizedEntriesRequest::default())
        .await
        .unwrap();
    let answer = clients
        .entries
        .sync_authorized_entries(ReceiverStream::new(requests))
        .await;
    Paged {
        to,
        from: answer.unwrap().into_inner(),
    }
}

#[tokio::test]
async fn a_small_set_is_answered_whole_and_the_call_ends() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    rig.create(rig.entry(&node.id, "web")).await;
    let mut agent = connect(&rig, Who::agent(&node)).await;
    let mut paged = paged(&mut agent).await;
    let answer = paged.from.message().await.unwrap().unwrap();
    assert_eq!(
        (
            answer.entries.len(),
            answer.entry_revisions.len(),
            answer.more
        ),
        (1, 0, false)
    );
    assert!(paged.from.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_large_set_comes_as_revisions_and_what_is_asked_for() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    for batch in 0..3 {
        let entries = (0..250)
            .map(|n| rig.entry(&node.id, &format!("w{batch}-{n}")))
            .collect();
        let made = rig
            .server
            .state
            .create_entries(&crate::rig::ADMIN, entries)
            .await;
        assert!(made.iter().all(Result::is_ok));
    }
    let mut agent = connect(&rig, Who::agent(&node)).await;
    let mut paged = paged(&mut agent).await;
    let mut ids = Vec::new();
    loop {
        let page = paged.from.message().await.unwrap().unwrap();
        assert!(page.entries.is_empty() && !page.entry_revisions.is_empty());
        ids.extend(page.entry_revisions.into_iter().map(|revision| revision.id));
        if !page.more {
            break;
        }
    }
    assert_eq!(ids.len(), 750);
    let mut asked = ids[..10].to_vec();
    asked.push("not-one-of-mine".into());
    let request = SyncAuthorizedEntriesRequest {
        ids: asked,
        ..Default::default()
    };
    paged.to.send(request).await.unwrap();
    let page = paged.from.message().await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.more), (10, false));
    let too_many = SyncAuthorizedEntriesRequest {
        ids: ids[..501].to_vec(),
        ..Default::default()
    };
    paged.to.send(too_many).await.unwrap();
    assert_eq!(
        paged.from.message().await.unwrap_err().code(),
        Code::InvalidArgument
    );
}
