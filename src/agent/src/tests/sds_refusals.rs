//! Who is given secrets at all: callers with an identity, and without the
//! security header only where the admin waived it, for this service alone.

use api::sds::secret_discovery_service_client::SecretDiscoveryServiceClient;
use api::workload::X509svidRequest;
use tonic::Code;

use super::node::{entry, eventually, within};
use super::sds::{asking, fetch, ready};

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
async fn without_the_header_secrets_alone_are_served_and_only_when_configured() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    assert!(fetch(&node, asking(&["default"])).await.is_ok());
    // A wrong header is still wrong, and other services still demand it.
    let mut wrong = tonic::Request::new(asking(&["default"]));
    let value = tonic::metadata::MetadataValue::from_static("True");
    wrong.metadata_mut().insert("workload.spiffe.io", value);
    let mut client = SecretDiscoveryServiceClient::new(node.channel().await);
    let refused = within(client.fetch_secrets(wrong)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut workload = api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient::new(
        node.channel().await,
    );
    let refused = within(workload.fetch_x509svid(X509svidRequest {})).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    node.stop().await.unwrap();
    // By default the header is demanded; with it, secrets are served.
    let (server, node, _dir) = super::workload_api::ready().await;
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    let refused = fetch(&node, asking(&["default"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut right = tonic::Request::new(asking(&["default"]));
    let value = tonic::metadata::MetadataValue::from_static("true");
    right.metadata_mut().insert("workload.spiffe.io", value);
    let mut client = SecretDiscoveryServiceClient::new(node.channel().await);
    assert!(within(client.fetch_secrets(right)).await.is_ok());
    node.stop().await.unwrap();
}
