//! DeltaSecrets: what changed, what is gone, and what a client that comes back
//! already has.

use api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use api::sds::secret_discovery_service_client::SecretDiscoveryServiceClient;
use tokio::sync::mpsc;
use tonic::{Code, Streaming};

use super::node::{Node, entry, eventually, within};
use super::sds::ready;

struct Envoy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

fn subscribing(names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

impl Envoy {
    async fn connect(node: &Node, first: DeltaDiscoveryRequest) -> Self {
        let (requests, outgoing) = mpsc::channel(8);
        requests.send(first).await.unwrap();
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let mut client = SecretDiscoveryServiceClient::new(node.channel().await);
        let responses = within(client.delta_secrets(outgoing)).await.unwrap();
        Self {
            requests,
            responses: responses.into_inner(),
        }
    }

    async fn next(&mut self) -> DeltaDiscoveryResponse {
        within(self.responses.message()).await.unwrap().unwrap()
    }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    let resources = response.resources.iter();
    resources.map(|resource| resource.name.as_str()).collect()
}

#[tokio::test]
async fn only_what_is_new_is_sent_and_what_is_gone_is_named() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    let mut envoy =
        Envoy::connect(&node, subscribing(&["default", "spiffe://example.org/b"])).await;
    let first = envoy.next().await;
    assert_eq!(names(&first), ["default"]);
    assert_eq!(first.removed_resources, ["spiffe://example.org/b"]);
    // What was not there comes, alone.
    server.put(&entry("e2", "/b"));
    assert_eq!(names(&envoy.next().await), ["spiffe://example.org/b"]);
    // A further name is answered alone.
    envoy.requests.send(subscribing(&["ROOTCA"])).await.unwrap();
    assert_eq!(names(&envoy.next().await), ["ROOTCA"]);
    let leaving = DeltaDiscoveryRequest {
        resource_names_unsubscribe: vec!["default".to_owned(), "ROOTCA".to_owned()],
        ..DeltaDiscoveryRequest::default()
    };
    envoy.requests.send(leaving).await.unwrap();
    // Nothing of what was asked for is left: as with an unknown name.
    server.remove(&identity::EntryId::parse("e2").unwrap());
    let ended = within(envoy.responses.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::InvalidArgument);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_comes_back_is_not_sent_what_it_has() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    let mut envoy = Envoy::connect(&node, subscribing(&[])).await;
    let all = envoy.next().await;
    assert_eq!(
        names(&all),
        ["spiffe://example.org", "spiffe://example.org/a"]
    );
    drop(envoy);
    let held = all.resources.iter();
    let held = held.map(|resource| (resource.name.clone(), resource.version.clone()));
    let back = DeltaDiscoveryRequest {
        initial_resource_versions: held.collect(),
        ..subscribing(&["*"])
    };
    let mut envoy = Envoy::connect(&node, back).await;
    server.put(&entry("e2", "/b"));
    assert_eq!(names(&envoy.next().await), ["spiffe://example.org/b"]);
    node.stop().await.unwrap();
}
