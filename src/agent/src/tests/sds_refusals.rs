//! Who is given secrets at all: callers with an identity, without the security header
//! unless the admin demands it.

use api::discovery::DiscoveryResponse;
use api::sds::secret_discovery_service_client::SecretDiscoveryServiceClient;
use api::workload::X509svidRequest;
use tonic::{Code, Status};

use super::fake_server::FakeServer;
use super::node::{Node, config, entry, eventually, within};
use super::sds::{asking, fetch, ready};
use crate::clock::Clock;

#[tokio::test]
async fn a_stranger_is_given_no_secret_and_no_bundle() {
    let (_server, node, _dir) = ready().await;
    for name in ["default", "ROOTCA", "ALL"] {
        let refused = fetch(&node, asking(&[name])).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn e1_an_envoy_without_the_header_is_served_by_an_agent_as_it_is_by_default() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    assert!(fetch(&node, asking(&["default"])).await.is_ok());
    // A wrong header is still wrong, and other services still demand it.
    let refused = fetch_with(&node, "True").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut workload = api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient::new(
        node.channel().await,
    );
    let refused = within(workload.fetch_x509svid(X509svidRequest {})).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn without_the_header_secrets_alone_are_served_and_only_when_configured() {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.sds.without_header = false;
    let node = Node::start(config, &clock).await;
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    let refused = fetch(&node, asking(&["default"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(fetch_with(&node, "true").await.is_ok());
    node.stop().await.unwrap();
}

async fn fetch_with(node: &Node, header: &'static str) -> Result<DiscoveryResponse, Status> {
    let mut request = tonic::Request::new(asking(&["default"]));
    let value = tonic::metadata::MetadataValue::from_static(header);
    request.metadata_mut().insert("workload.spiffe.io", value);
    let mut client = SecretDiscoveryServiceClient::new(node.channel().await);
    let answer = within(client.fetch_secrets(request)).await?;
    Ok(answer.into_inner())
}
