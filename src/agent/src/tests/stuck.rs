//! Streams of workloads that take nothing: the acknowledgement goes on without them, and
//! their connections end.

use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use api::workload::{X509BundlesRequest, X509svidRequest};
use identity::Seconds;
use tonic::transport::Endpoint;

use super::fake_server::FakeServer;
use super::node::{Node, client, config, entry, eventually, until, within};
use crate::clock::Clock;
use crate::limits;

fn seconds(span: std::time::Duration) -> Seconds {
    Seconds(u32::try_from(span.as_secs()).unwrap())
}

#[tokio::test]
async fn a1_a_stream_with_a_window_of_zero_is_named_then_left_behind_then_ended() {
    let clock = Clock::manual(Clock::system().now());
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    server.put(&entry("e1", "/a"));
    eventually("the SVID is there", || {
        node.core.hub.counts().x509_svids == 1
    })
    .await;
    let socket = node.core.settings.config.workload_socket.display();
    let endpoint = Endpoint::from_shared(format!("unix://{socket}")).unwrap();
    let stuck = endpoint.initial_stream_window_size(0).connect().await;
    let mut stuck: SpiffeWorkloadApiClient<_> = client(stuck.unwrap());
    let opened = within(stuck.fetch_x509svid(X509svidRequest {})).await;
    let mut stuck = opened.unwrap().into_inner();
    let mut honest = node.client().await;
    let honest = honest.fetch_x509_bundles(X509BundlesRequest {}).await;
    let mut honest = honest.unwrap().into_inner();
    within(honest.message()).await.unwrap();
    server.publish(2);
    until(&server.state.acks, |ack| ack.bundle_sequence_stored == 2).await;
    assert_eq!(
        server.state.acks.borrow().bundle_sequence_delivered,
        1,
        "a slow reader is waited for"
    );
    clock.advance(seconds(limits::STREAM_PATIENCE));
    let ack = until(&server.state.acks, |ack| ack.bundle_sequence_delivered == 2).await;
    assert_eq!(ack.streams_behind_count, 1);
    let named = &ack.streams_behind[0];
    assert_eq!(named.pid.unsigned_abs(), std::process::id());
    assert_eq!(named.uid, rustix::process::geteuid().as_raw());
    assert_eq!(named.bundle_sequence, 1);
    // It never comes to its senses: its connection ends, and nobody is behind.
    clock.advance(seconds(limits::STREAM_STUCK));
    within(stuck.message()).await.unwrap_err();
    until(&server.state.acks, |ack| ack.streams_behind_count == 0).await;
    // Other connections go on.
    server.put(&entry("e2", "/b"));
    server.publish(3);
    until(&server.state.acks, |ack| ack.bundle_sequence_delivered == 3).await;
    node.stop().await.unwrap();
}
