//! Delegates: who may be one, what ends what is done for one.

use std::process::{Child, Command};

use api::delegated_identity as wire;
use api::delegated_identity::delegated_identity_client::DelegatedIdentityClient;
use api::types;
use identity::EntryId;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::fake_server::FakeServer;
use super::node::{Node, config, entry, entry_for, eventually, within};
use crate::clock::Clock;

type Client = DelegatedIdentityClient<Channel>;

/// An agent that has `/delegate` for this process and `/other` for somebody else.
async fn start(delegates: &[&str], attested_only: bool) -> (FakeServer, Node, Client, TempDir) {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    server.put(&entry("me", "/delegate"));
    server.put(&entry_for("other", "/other", "unix:uid:4000000000", ""));
    let mut config = config(&server, &dir);
    let section = &mut config.delegated_identity;
    section.authorized_delegates = delegates.iter().map(|id| (*id).to_owned()).collect();
    section.attested_only = attested_only;
    let node = Node::start(config, &clock).await;
    eventually("both SVIDs are there", || {
        let inventory = node.core.hub.inventory();
        inventory
            .iter()
            .filter(|(_, expiry)| expiry.is_some())
            .count()
            == 2
    })
    .await;
    let socket = &node.core.settings.config.admin_socket;
    let channel = channel::uds_channel(socket, &channel::ChannelOptions::default()).await;
    (server, node, Client::new(channel.unwrap()), dir)
}

const DELEGATE: &str = "spiffe://example.org/delegate";

fn other() -> wire::SubscribeToX509sviDsRequest {
    let selector = types::Selector {
        r#type: "unix".into(),
        value: "uid:4000000000".into(),
    };
    wire::SubscribeToX509sviDsRequest {
        selectors: vec![selector],
        pid: 0,
    }
}

fn of_process(pid: u32) -> wire::SubscribeToX509sviDsRequest {
    wire::SubscribeToX509sviDsRequest {
        selectors: Vec::new(),
        pid: pid.try_into().unwrap(),
    }
}

fn child() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

/// The first answer of a stream, and the stream.
async fn open(
    client: &mut Client,
    request: wire::SubscribeToX509sviDsRequest,
) -> Result<(Vec<String>, Streaming<wire::SubscribeToX509sviDsResponse>), Status> {
    let opened = within(client.subscribe_to_x509svi_ds(request)).await?;
    let mut stream = opened.into_inner();
    let first = within(stream.message()).await?.unwrap();
    Ok((ids(&first), stream))
}

fn ids(update: &wire::SubscribeToX509sviDsResponse) -> Vec<String> {
    let svids = update.x509_svids.iter();
    let paths = svids.map(|svid| svid.x509_svid.as_ref().unwrap().id.as_ref().unwrap());
    paths.map(|id| id.path.clone()).collect()
}

#[tokio::test]
async fn nobody_is_a_delegate_unless_configured() {
    let (_server, node, mut client, _dir) = start(&[], false).await;
    let refused = open(&mut client, other()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let audience = vec!["a".to_owned()];
    let tokens = wire::FetchJwtsviDsRequest {
        audience,
        selectors: other().selectors,
        pid: 0,
    };
    let refused = within(client.fetch_jwtsvi_ds(tokens)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let bundles = wire::SubscribeToX509BundlesRequest {};
    let refused = within(client.subscribe_to_x509_bundles(bundles)).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let keys = wire::SubscribeToJwtBundlesRequest {};
    let refused = within(client.subscribe_to_jwt_bundles(keys)).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_delegate_that_loses_its_identity_loses_its_streams() {
    let (server, node, mut client, _dir) = start(&[DELEGATE], false).await;
    let (first, mut stream) = open(&mut client, other()).await.unwrap();
    assert_eq!(first, ["/other"]);
    let bundles = wire::SubscribeToX509BundlesRequest {};
    let bundles = within(client.subscribe_to_x509_bundles(bundles)).await;
    let mut bundles = bundles.unwrap().into_inner();
    let first = within(bundles.message()).await.unwrap().unwrap();
    assert_eq!(
        first.ca_certificates["spiffe://example.org"],
        server.state.authority.root()
    );
    server.remove(&EntryId::parse("me").unwrap());
    let ended = within(stream.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied);
    let ended = within(bundles.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn changes_reach_a_delegate_down_to_nothing_and_up_again() {
    let (server, node, mut client, _dir) = start(&[DELEGATE], false).await;
    let (_, mut stream) = open(&mut client, other()).await.unwrap();
    server.remove(&EntryId::parse("other").unwrap());
    let update = within(stream.message()).await.unwrap().unwrap();
    assert!(ids(&update).is_empty(), "an empty set is an answer");
    server.put(&entry_for("again", "/again", "unix:uid:4000000000", ""));
    let update = within(stream.message()).await.unwrap().unwrap();
    assert_eq!(ids(&update), ["/again"]);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_done_for_a_process_ends_with_it() {
    let (_server, node, mut client, _dir) = start(&[DELEGATE], false).await;
    let mut workload = child();
    let (first, mut stream) = open(&mut client, of_process(workload.id())).await.unwrap();
    assert_eq!(first, ["/delegate"], "it is of the same user");
    workload.kill().unwrap();
    workload.wait().unwrap();
    let ended = within(stream.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    let gone = open(&mut client, of_process(workload.id())).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_delegate_may_be_held_to_processes_that_the_agent_attests() {
    let (_server, node, mut client, _dir) = start(&[DELEGATE], true).await;
    let refused = open(&mut client, other()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut workload = child();
    let (first, _stream) = open(&mut client, of_process(workload.id())).await.unwrap();
    assert_eq!(first, ["/delegate"]);
    workload.kill().unwrap();
    workload.wait().unwrap();
    node.stop().await.unwrap();
}
