//! What stock tools ask before anything else: health, reflection, debug, and lists
//! of what this server does not have.

use api::debug::GetInfoRequest;
use api::debug::debug_client::DebugClient;
use api::logger::GetLoggerRequest;
use api::logger::logger_client::LoggerClient;
use api::trustdomain::trust_domain_client::TrustDomainClient;
use api::trustdomain::{
    BatchCreateFederationRelationshipRequest, GetFederationRelationshipRequest,
    ListFederationRelationshipsRequest,
};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;

#[tokio::test]
async fn the_admin_socket_says_that_it_serves() {
    let rig = Rig::memory().await;
    let check = HealthCheckRequest::default();
    let mut health = HealthClient::new(channel(&rig, Who::Local).await);
    let answer = health.check(check.clone()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    // On the network it is not there.
    let mut health = HealthClient::new(channel(&rig, Who::Anonymous).await);
    let error = health.check(check).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test]
async fn e5_reflection_names_the_services_that_are_served() {
    let rig = Rig::memory().await;
    let mut reflection = ServerReflectionClient::new(channel(&rig, Who::Local).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection
        .server_reflection_info(tokio_stream::iter([request]))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list: {answer:?}");
    };
    let names: Vec<_> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    for name in ["spire.api.server.entry.v1.Entry", "bulla.sync.v1.Sync"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    // What agents serve is not here.
    for name in [
        "SpiffeWorkloadAPI",
        "envoy.service.secret.v3.SecretDiscoveryService",
        "spire.api.agent.delegatedidentity.v1.DelegatedIdentity",
        "bulla.workload.v1.Tokens",
    ] {
        assert!(!names.contains(&name), "{name} is in {names:?}");
    }
}

#[tokio::test]
async fn debug_counts() {
    let rig = Rig::memory().await;
    rig.agent().await;
    let mut debug = DebugClient::new(channel(&rig, Who::Local).await);
    let info = debug
        .get_info(GetInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!((info.agents_count, info.entries_count), (1, 0));
}

#[tokio::test]
async fn d10_what_is_not_here_is_said_so() {
    let rig = Rig::memory().await;
    let mut federation = TrustDomainClient::new(channel(&rig, Who::Local).await);
    let list = ListFederationRelationshipsRequest {
        page_size: 200,
        ..Default::default()
    };
    let list = federation
        .list_federation_relationships(list)
        .await
        .unwrap()
        .into_inner();
    assert!(list.federation_relationships.is_empty() && list.next_page_token.is_empty());
    let get = |trust_domain: &str| GetFederationRelationshipRequest {
        trust_domain: trust_domain.into(),
        output_mask: None,
    };
    let error = federation
        .get_federation_relationship(get("other.test"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let error = federation
        .get_federation_relationship(get("no domain"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let create = BatchCreateFederationRelationshipRequest::default();
    let error = federation
        .batch_create_federation_relationship(create)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    let mut logger = LoggerClient::new(channel(&rig, Who::Local).await);
    let error = logger.get_logger(GetLoggerRequest {}).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    assert!(error.message().contains("[log] level"), "d10: {error}");
}
