//! Secret discovery: what Envoy is given by which name, when it is pushed, and
//! what it must not get. The rows SDS-1 to SDS-10 of the conformance list.

use api::discovery::{DiscoveryRequest, DiscoveryResponse, ErrorDetail};
use api::envoy_core::{Node as EnvoyNode, data_source::Specifier};
use api::envoy_tls::{Secret, SpiffeCertValidatorConfig, secret::Type};
use api::sds::secret_discovery_service_client::SecretDiscoveryServiceClient;
use api::workload::X509svidRequest;
use base64::Engine as _;
use prost::Message as _;
use prost_types::value::Kind;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::fake_server::FakeServer;
use super::node::{Node, config, entry, eventually, within};
use crate::clock::Clock;

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// An agent as it is by default: Envoy comes without the header.
pub(super) async fn ready() -> (FakeServer, Node, TempDir) {
    let clock = Clock::system();
    let server = FakeServer::start(clock.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(&server, &dir), &clock).await;
    eventually("the agent follows", || node.core.hub.is_ready()).await;
    (server, node, dir)
}

/// An open stream of one Envoy.
struct Envoy {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

pub(super) fn asking(names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        type_url: SECRET.to_owned(),
        ..DiscoveryRequest::default()
    }
}

fn answering(names: &[&str], response: &DiscoveryResponse) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: response.version_info.clone(),
        response_nonce: response.nonce.clone(),
        ..asking(names)
    }
}

impl Envoy {
    async fn connect(node: &Node, first: DiscoveryRequest) -> Self {
        let (requests, outgoing) = mpsc::channel(8);
        requests.send(first).await.unwrap();
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let mut client = SecretDiscoveryServiceClient::new(node.channel().await);
        let responses = within(client.stream_secrets(outgoing)).await.unwrap();
        Self {
            requests,
            responses: responses.into_inner(),
        }
    }

    async fn say(&self, request: DiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> DiscoveryResponse {
        within(self.responses.message()).await.unwrap().unwrap()
    }

    async fn end(&mut self) -> Status {
        within(self.responses.message()).await.unwrap_err()
    }
}

pub(super) async fn fetch(
    node: &Node,
    request: DiscoveryRequest,
) -> Result<DiscoveryResponse, Status> {
    let mut client = SecretDiscoveryServiceClient::new(node.channel().await);
    let answer = within(client.fetch_secrets(request)).await?;
    Ok(answer.into_inner())
}

fn secrets(response: &DiscoveryResponse) -> Vec<(String, Type)> {
    let decode = |any: &prost_types::Any| {
        assert_eq!(any.type_url, SECRET);
        let secret = Secret::decode(&any.value[..]).unwrap();
        (secret.name, secret.r#type.unwrap())
    };
    response.resources.iter().map(decode).collect()
}

fn names(response: &DiscoveryResponse) -> Vec<String> {
    let all = secrets(response);
    all.into_iter().map(|(name, _)| name).collect()
}

fn bytes(source: Option<api::envoy_core::DataSource>) -> Vec<u8> {
    let Some(Specifier::InlineBytes(bytes)) = source.unwrap().specifier else {
        panic!("not inline");
    };
    bytes.to_vec()
}

/// The first PEM block as DER.
fn der(pem: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(pem).unwrap();
    let body: String = text
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('-'))
        .collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap()
}

fn chain_and_key(secret: &Type) -> (Vec<u8>, Vec<u8>) {
    let Type::TlsCertificate(tls) = secret else {
        panic!("no certificate");
    };
    let chain = bytes(tls.certificate_chain.clone());
    (der(&chain), der(&bytes(tls.private_key.clone())))
}

/// The trust domains of a secret for the SPIFFE validator, with their bundles.
fn validated(secret: &Type) -> Vec<(String, Vec<u8>)> {
    let Type::ValidationContext(context) = secret else {
        panic!("no bundle");
    };
    assert!(context.trusted_ca.is_none());
    let custom = context.custom_validator_config.clone().unwrap();
    assert_eq!(custom.name, "envoy.tls.cert_validator.spiffe");
    let config = custom.typed_config.unwrap();
    assert!(config.type_url.ends_with(".SPIFFECertValidatorConfig"));
    let config = SpiffeCertValidatorConfig::decode(&config.value[..]).unwrap();
    let domains = config.trust_domains.into_iter();
    domains
        .map(|domain| (domain.name, der(&bytes(domain.trust_bundle))))
        .collect()
}

fn plain(secret: &Type) -> Vec<u8> {
    let Type::ValidationContext(context) = secret else {
        panic!("no bundle");
    };
    assert!(context.custom_validator_config.is_none());
    der(&bytes(context.trusted_ca.clone()))
}

/// Registers `/a`, which federates with friend.example.
async fn federate(server: &FakeServer, node: &Node) -> identity::Bundle {
    let ours = identity::TrustDomain::parse("example.org").unwrap();
    let friend = identity::TrustDomain::parse("friend.example").unwrap();
    let mut fields = identity::Entry::clone(&entry("e1", "/a")).into_fields();
    fields.federates_with = vec![friend.clone()];
    server.put(&std::sync::Arc::new(
        identity::Entry::new(fields, &ours).unwrap(),
    ));
    let own = server.state.authority.bundle(1);
    let mut theirs = identity::Bundle {
        trust_domain: friend.clone(),
        ..own.clone()
    };
    theirs.x509_authorities = super::authority::Authority::new(Clock::system().now())
        .bundle(1)
        .x509_authorities;
    let wire = |bundle: &identity::Bundle| api::convert::bundle_to_wire(bundle, None);
    server.tell(api::sync::follow_response::Message::Bundles(
        api::sync::Bundles {
            own: Some(wire(&own)),
            federated: vec![wire(&theirs)],
            access_keys: Vec::new(),
        },
    ));
    eventually("the entry and the bundle arrive", || {
        let entries = node.core.hub.entries();
        node.core.hub.bundles_for(&entries).len() == 2
    })
    .await;
    theirs
}

#[tokio::test]
async fn sds_1_2_default_and_the_id_are_the_first_svid_of_the_workload_api() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    server.put(&entry("e2", "/b"));
    eventually("both are there", || node.core.hub.entries().len() == 2).await;
    let response = fetch(&node, asking(&["default", "spiffe://example.org/b", ""]))
        .await
        .unwrap();
    assert_eq!(names(&response), ["default", "spiffe://example.org/b"]);
    assert_eq!((response.version_info, response.nonce).0, "");
    let response = fetch(&node, asking(&["default"])).await.unwrap();
    let (leaf, key) = chain_and_key(&secrets(&response)[0].1);
    let mut client = node.client().await;
    let mut stream = within(client.fetch_x509svid(X509svidRequest {}))
        .await
        .unwrap()
        .into_inner();
    let first = within(stream.message()).await.unwrap().unwrap();
    assert_eq!(first.svids[0].spiffe_id, "spiffe://example.org/a");
    assert!(first.svids[0].x509_svid.starts_with(&leaf));
    assert_eq!(first.svids[0].x509_svid_key, key);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn sds_3_4_5_bundles_by_name_each_trust_domain_for_itself() {
    let (server, node, _dir) = ready().await;
    let theirs = federate(&server, &node).await;
    let own = server.state.authority.root().to_vec();
    let theirs = theirs.x509_authorities[0].der.to_vec();
    assert_ne!(own, theirs);
    for name in ["ROOTCA", "spiffe://example.org"] {
        let response = fetch(&node, asking(&[name])).await.unwrap();
        let [(named, secret)] = &secrets(&response)[..] else {
            panic!("not one secret");
        };
        assert_eq!(named, name);
        assert_eq!(validated(secret), [("example.org".to_owned(), own.clone())]);
    }
    let response = fetch(&node, asking(&["spiffe://friend.example"])).await;
    let secret = &secrets(&response.unwrap())[0].1;
    let friend = ("friend.example".to_owned(), theirs);
    assert_eq!(validated(secret), std::slice::from_ref(&friend));
    let response = fetch(&node, asking(&["ALL"])).await.unwrap();
    let secret = &secrets(&response)[0].1;
    assert_eq!(validated(secret), [("example.org".to_owned(), own), friend]);
    let stranger = fetch(&node, asking(&["spiffe://stranger.example"])).await;
    assert_eq!(stranger.unwrap_err().code(), Code::InvalidArgument);
    // All at once: names that overlap are no quarrel.
    let all = [
        "ALL",
        "ROOTCA",
        "default",
        "spiffe://example.org",
        "spiffe://example.org/a",
    ];
    assert_eq!(names(&fetch(&node, asking(&all)).await.unwrap()), all);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn sds_6_an_empty_list_asks_for_everything_by_its_id() {
    let (server, node, _dir) = ready().await;
    federate(&server, &node).await;
    for list in [&[][..], &["", ""]] {
        let response = fetch(&node, asking(list)).await.unwrap();
        let expected = [
            "spiffe://example.org",
            "spiffe://example.org/a",
            "spiffe://friend.example",
        ];
        assert_eq!(names(&response), expected);
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn sds_7_unknown_names_are_invalid_and_cost_others_nothing() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    let unknown = ["spiffe://example.org/b", "file-root:system"];
    let refused = fetch(&node, asking(&unknown)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        refused.message(),
        "workload is not authorized for the requested identities \
         [\"file-root:system\", \"spiffe://example.org/b\"]"
    );
    let mut envoy = Envoy::connect(&node, asking(&unknown)).await;
    assert_eq!(envoy.end().await.code(), Code::InvalidArgument);
    let some = fetch(&node, asking(&["default", "file-root:system"])).await;
    assert_eq!(names(&some.unwrap()), ["default"]);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn sds_8_a_rotation_is_pushed_without_a_request() {
    let (server, node, _dir) = ready().await;
    server
        .state
        .svid_seconds
        .store(4, std::sync::atomic::Ordering::SeqCst);
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    let mut svid = Envoy::connect(&node, asking(&["default"])).await;
    let mut roots = Envoy::connect(&node, asking(&["ROOTCA"])).await;
    let first = svid.next().await;
    assert_eq!(first.version_info, "1");
    svid.say(answering(&["default"], &first)).await;
    let second = svid.next().await;
    assert_eq!(second.version_info, "2");
    assert_ne!(first.nonce, second.nonce);
    let leaf = |response| chain_and_key(&secrets(response)[0].1);
    assert_ne!(leaf(&first), leaf(&second));
    // Who asked for the bundle alone hears nothing of it, but is asked no more
    // of than others when a bundle is delivered.
    let bundle = roots.next().await;
    roots
        .say(answering(&["spiffe://example.org"], &bundle))
        .await;
    let renamed = roots.next().await;
    assert_eq!(
        renamed.version_info, "1",
        "the same content by another name"
    );
    server.publish(2);
    super::node::until(&server.state.acks, |ack| ack.bundle_sequence_delivered == 2).await;
    // The last identity is lost, and with it the stream.
    server.remove(&identity::EntryId::parse("e1").unwrap());
    let mut ended = svid.responses.message().await;
    while let Ok(Some(_renewal)) = ended {
        ended = within(svid.responses.message()).await;
    }
    assert_eq!(ended.unwrap_err().code(), Code::PermissionDenied);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn sds_9_rejections_do_not_spin_stale_words_do_not_count_new_names_do() {
    let (server, node, _dir) = ready().await;
    server.put(&entry("e1", "/a"));
    eventually("it is there", || node.core.hub.entries().len() == 1).await;
    let mut envoy = Envoy::connect(&node, asking(&["default"])).await;
    let first = envoy.next().await;
    let rejection = DiscoveryRequest {
        version_info: String::new(),
        error_detail: Some(ErrorDetail {
            code: 3,
            message: "no".to_owned(),
        }),
        ..answering(&["default"], &first)
    };
    envoy.say(rejection).await;
    envoy.say(answering(&["default"], &first)).await;
    let stale = DiscoveryRequest {
        response_nonce: "beef".to_owned(),
        ..asking(&["spiffe://example.org/a"])
    };
    envoy.say(stale).await;
    envoy.say(answering(&["ROOTCA"], &first)).await;
    // The first thing that is said is the answer to the new name.
    let second = envoy.next().await;
    assert_eq!(names(&second), ["ROOTCA"]);
    assert_ne!(second.nonce, first.nonce);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn sds_10_a_node_may_ask_for_plain_authorities() {
    let (server, node, _dir) = ready().await;
    federate(&server, &node).await;
    let value = prost_types::Value {
        kind: Some(Kind::StringValue("true".to_owned())),
    };
    let metadata = prost_types::Struct {
        fields: [("disable_spiffe_cert_validation".to_owned(), value)].into(),
    };
    let envoy = || EnvoyNode {
        metadata: Some(metadata.clone()),
        ..EnvoyNode::default()
    };
    let asking = |name| DiscoveryRequest {
        node: Some(envoy()),
        ..asking(&[name])
    };
    let response = fetch(&node, asking("ROOTCA")).await.unwrap();
    let secret = &secrets(&response)[0].1;
    assert_eq!(plain(secret), server.state.authority.root());
    let refused = fetch(&node, asking("ALL")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("SPIFFE validator"), "{refused}");
    // What the node said holds for the stream.
    let mut stream = Envoy::connect(&node, asking("ROOTCA")).await;
    let first = stream.next().await;
    let again = answering(&["spiffe://example.org"], &first);
    stream.say(again).await;
    plain(&secrets(&stream.next().await)[0].1);
    node.stop().await.unwrap();
}
