//! The honest callers: a workload, a node that attests, an administrator. Each
//! makes one call after another, a few each second, as such callers do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::agent::BanAgentRequest;
use api::agent::agent_client::AgentClient;
use api::entry::entry_client::EntryClient;
use api::entry::{BatchCreateEntryRequest, BatchDeleteEntryRequest};
use api::types::{Entry, Selector};
use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use api::workload::{JwtsvidRequest, X509svidRequest};
use bulla_tests::{ServerEndpoint, certification_request, unix, wire_id, with_header};
use tonic::transport::Channel;

use crate::bounds::Times;

/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(25);

/// The longest that a call may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls again and again until the time is over.
pub(crate) async fn repeat<F>(span: Duration, mut call: impl FnMut(usize) -> F) -> Times
where
    F: Future<Output = Result<(), String>>,
{
    let mut times = Times::default();
    let start = Instant::now();
    while start.elapsed() < span {
        let begun = Instant::now();
        match tokio::time::timeout(PATIENCE, call(times.took.len())).await {
            Ok(Ok(())) => times.took.push(begun.elapsed()),
            Ok(Err(why)) => times.failures.push(why),
            Err(_) => times
                .failures
                .push(format!("no answer within {PATIENCE:?}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    times
}

/// A workload that connects, takes its X.509-SVID and a token, and leaves.
pub(crate) async fn workload(socket: PathBuf, span: Duration) -> Times {
    repeat(span, |_| {
        let socket = socket.clone();
        async move {
            let options = channel::ChannelOptions::default();
            let channel = channel::uds_channel(&socket, &options).await;
            let channel = channel.map_err(|error| error.to_string())?;
            let mut client = SpiffeWorkloadApiClient::new(channel);
            let stream = client.fetch_x509svid(with_header(X509svidRequest {}));
            let mut stream = stream.await.map_err(said)?.into_inner();
            let first = stream.message().await.map_err(said)?;
            first.ok_or("the stream ended without an answer")?;
            let wanted = JwtsvidRequest {
                audience: vec!["honest".into()],
                ..JwtsvidRequest::default()
            };
            client
                .fetch_jwtsvid(with_header(wanted))
                .await
                .map_err(said)?;
            Ok(())
        }
    })
    .await
}

/// Nodes that join one after another, each over a connection of its own.
pub(crate) async fn node(server: ServerEndpoint, span: Duration) -> Times {
    repeat(span, |_| {
        let server = server.clone();
        async move {
            let token = server.try_token(None).await?;
            server
                .try_attest(token, certification_request().0)
                .await
                .map(drop)
        }
    })
    .await
}

/// An administrator who creates and deletes entries, and bans nodes that left.
pub(crate) async fn administrator(
    socket: PathBuf,
    server: ServerEndpoint,
    span: Duration,
) -> Times {
    let channel = unix(&socket).await;
    repeat(span, |nth| {
        let (channel, server) = (channel.clone(), server.clone());
        async move {
            create_and_delete(&channel, nth).await?;
            if nth.is_multiple_of(20) {
                let token = server.try_token(None).await?;
                let svid = server.try_attest(token, certification_request().0).await?;
                let ban = BanAgentRequest { id: svid.id };
                AgentClient::new(channel)
                    .ban_agent(ban)
                    .await
                    .map_err(said)?;
            }
            Ok(())
        }
    })
    .await
}

async fn create_and_delete(channel: &Channel, nth: usize) -> Result<(), String> {
    let mut client = EntryClient::new(channel.clone());
    let entry = Entry {
        spiffe_id: Some(wire_id(&format!("/honest/{nth}"))),
        parent_id: Some(wire_id("/node")),
        selectors: vec![Selector {
            r#type: "unix".into(),
            value: format!("uid:{}", 3_000_000 + nth),
        }],
        ..Entry::default()
    };
    let request = BatchCreateEntryRequest {
        entries: vec![entry],
        output_mask: None,
    };
    let created = client.batch_create_entry(request).await.map_err(said)?;
    let result = created.into_inner().results.pop().ok_or("no result")?;
    let entry = result.entry.ok_or_else(|| format!("{:?}", result.status))?;
    let request = BatchDeleteEntryRequest {
        ids: vec![entry.id],
    };
    client.batch_delete_entry(request).await.map_err(said)?;
    Ok(())
}

fn said(status: tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
