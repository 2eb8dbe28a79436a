//! The server's side of the watching: the decision log and the fleet are followed,
//! the keys are asked for. A server that goes away is waited for; its log is then
//! read on from where it was.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tonic::Streaming;
use tonic::transport::Channel;

use super::event::Event;
use super::news::News;
use crate::admin::connect;
use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::wire::audit_v1::audit_client::AuditClient;
use crate::wire::audit_v1::{ListRequest, Record};
use crate::wire::fleet_v1::fleet_client::FleetClient;
use crate::wire::fleet_v1::{WatchRequest, WatchResponse};
use crate::wire::info_v1::GetRequest;
use crate::wire::info_v1::info_client::InfoClient;
use crate::wire::keys_v1::StatusRequest;
use crate::wire::keys_v1::keys_client::KeysClient;

/// Before the first new try to reach the server; doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two questions for the keys.
const KEYS_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at the fleet, milliseconds.
const LOOK_MS: u32 = 500;

/// Why following ended.
enum Ended {
    /// The server went away, or never was there.
    Lost(Failure),
    /// Nobody listens to us any more.
    Unheard,
}

/// A connection with everything that is followed on it.
struct Session {
    records: Streaming<Record>,
    looks: Streaming<WatchResponse>,
    keys: KeysClient<Channel>,
}

/// Tells of everything, until nobody listens any more.
pub(super) async fn follow(admin: AdminSocket, to: mpsc::Sender<Event>) {
    let mut news = News::default();
    let mut pause = FIRST_PAUSE;
    loop {
        match follow_once(&admin, &mut news, &mut pause, &to).await {
            Ended::Unheard => return,
            Ended::Lost(failure) => {
                let event = Event::Disconnected {
                    why: failure.what,
                    retry_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                };
                if to.send(event).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn follow_once(
    admin: &AdminSocket,
    news: &mut News,
    pause: &mut Duration,
    to: &mpsc::Sender<Event>,
) -> Ended {
    let opened = open(admin, news, true).await;
    let (connected, mut session) = match opened {
        Ok(opened) => opened,
        Err(failure) => return Ended::Lost(failure),
    };
    if to.send(connected).await.is_err() {
        return Ended::Unheard;
    }
    *pause = FIRST_PAUSE;
    let mut keys_due = tokio::time::interval(KEYS_PAUSE);
    keys_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let events = tokio::select! {
            record = session.records.message() => some(record).map(|r| vec![news.record(r)]),
            look = session.looks.message() => some(look).map(|look| news.look(look)),
            _ = keys_due.tick() => keys(&mut session.keys, news).await,
            () = to.closed() => return Ended::Unheard,
        };
        let events = match events {
            Ok(events) => events,
            Err(failure) => return Ended::Lost(failure),
        };
        for event in events {
            if to.send(event).await.is_err() {
                return Ended::Unheard;
            }
        }
    }
}

/// Everything as it is now, with the newest records.
///
/// # Errors
/// The server is away.
pub(super) async fn once(admin: &AdminSocket) -> Result<Vec<Event>, Failure> {
    let mut news = News::default();
    let (connected, mut session) = open(admin, &mut news, false).await?;
    let mut events = vec![connected];
    while let Some(record) = session.records.message().await? {
        events.push(news.record(record));
    }
    while let Some(look) = session.looks.message().await? {
        events.extend(news.look(look));
    }
    events.extend(keys(&mut session.keys, &mut news).await?);
    Ok(events)
}

async fn open(
    admin: &AdminSocket,
    news: &mut News,
    stay: bool,
) -> Result<(Event, Session), Failure> {
    let channel = connect(admin).await?;
    let info = InfoClient::new(channel.clone()).get(GetRequest {}).await?;
    let info = info.into_inner();
    let list = ListRequest {
        from_seq: news.connected(info.journal_seq),
        follow: stay,
        ..ListRequest::default()
    };
    let watch = WatchRequest {
        interval_ms: LOOK_MS,
        once: !stay,
    };
    let session = Session {
        records: AuditClient::new(channel.clone())
            .list(list)
            .await?
            .into_inner(),
        looks: FleetClient::new(channel.clone())
            .watch(watch)
            .await?
            .into_inner(),
        keys: KeysClient::new(channel),
    };
    Ok((Event::Connected(Box::new(info)), session))
}

/// The message of a stream that is not to end.
fn some<T>(message: Result<Option<T>, tonic::Status>) -> Result<T, Failure> {
    message?.ok_or_else(|| Failure::unreachable("the server ended the stream"))
}

async fn keys(client: &mut KeysClient<Channel>, news: &mut News) -> Result<Vec<Event>, Failure> {
    let status = client.status(StatusRequest {}).await?.into_inner();
    Ok(news.keys(status.keys).into_iter().collect())
}
