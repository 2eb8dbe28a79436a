//! Servers below this one: an authority and a published key for those that a
//! `downstream` entry names, and for nobody else.

use ::keys::{KeyType, generate_pkcs8};
use api::bundle::PublishJwtAuthorityRequest;
use api::svid::NewDownstreamX509caRequest;
use identity::CertificateSerial;
use records::{AuditKind, AuditOutcome};
use tonic::Code;

use super::*;
use crate::rig::csr;

/// A server with one entry below its agent that is `downstream`; its clients.
async fn below(rig: &Rig) -> Clients {
    let agent = rig.agent().await;
    let entry = rig.entry_with(&agent.id, "nested", |entry| entry.downstream = true);
    let entry = rig.create(entry).await;
    let peer = TestPeer {
        spiffe_id: entry.spiffe_id.clone(),
        serial: CertificateSerial::new(&[1]),
        not_after: Timestamp(START.0 + 3600),
    };
    connect(rig, Who::Peer(peer)).await
}

fn asked(ttl: i32) -> NewDownstreamX509caRequest {
    NewDownstreamX509caRequest {
        csr: csr().into(),
        preferred_ttl: ttl,
    }
}

fn jwt_key(id: &str, spki: &[u8], end: i64) -> PublishJwtAuthorityRequest {
    PublishJwtAuthorityRequest {
        jwt_authority: Some(types::JwtKey {
            public_key: spki.to_vec().into(),
            key_id: id.into(),
            expires_at: end,
            tainted: false,
        }),
    }
}

fn spki(rig: &Rig) -> Vec<u8> {
    let made = generate_pkcs8(KeyType::EcP256, rig.server.entropy.source());
    made.unwrap().1.spki_der().to_vec()
}

#[tokio::test]
async fn downstream_servers_get_an_authority_and_nobody_else() {
    let rig = Rig::memory().await;
    let mut nested = below(&rig).await;
    let answer = nested
        .svids
        .new_downstream_x509ca(asked(600))
        .await
        .unwrap();
    let answer = answer.into_inner();
    let (_, ca) = x509_parser::parse_x509_certificate(&answer.ca_cert_chain[0]).unwrap();
    assert_eq!(ca.validity().not_after.timestamp(), START.0 + 600);
    assert_eq!(answer.ca_cert_chain.len(), 1);
    assert_eq!(answer.x509_authorities.len(), 1);
    let constraints = ca.basic_constraints().unwrap().unwrap().value;
    assert_eq!(constraints.path_len_constraint, Some(0));
    assert_eq!(rig.count(AuditKind::DownstreamCa, AuditOutcome::Granted), 1);
    // Longer than an authority of this server lives is never given.
    let long = nested
        .svids
        .new_downstream_x509ca(asked(i32::MAX))
        .await
        .unwrap();
    let long = long.into_inner();
    let (_, ca) = x509_parser::parse_x509_certificate(&long.ca_cert_chain[0]).unwrap();
    assert_eq!(ca.validity().not_after.timestamp(), START.0 + 86_400);
    let mut bad = asked(0);
    bad.csr = bad.csr.slice(..20);
    let refused = nested.svids.new_downstream_x509ca(bad).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for who in [Who::Local, Who::Anonymous, Who::agent(&rig.agent().await)] {
        let mut other = connect(&rig, who).await;
        let refused = other.svids.new_downstream_x509ca(asked(0)).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn a_server_that_wants_none_below_signs_for_none() {
    let rig = Rig::with(|config| config.ca.downstream_levels = 0).await;
    let mut nested = below(&rig).await;
    let refused = nested
        .svids
        .new_downstream_x509ca(asked(0))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("path length"), "{refused}");
    assert_eq!(rig.count(AuditKind::DownstreamCa, AuditOutcome::Refused), 1);
}

#[tokio::test]
async fn a_downstream_key_takes_nobodys_place_and_goes_in_time() {
    let rig = Rig::memory().await;
    let mut nested = below(&rig).await;
    let end = START.0 + 100;
    let mine = spki(&rig);
    let published = nested
        .bundles
        .publish_jwt_authority(jwt_key("theirs", &mine, end));
    assert_eq!(
        published.await.unwrap().into_inner().jwt_authorities.len(),
        2
    );
    // Again is nothing new.
    let again = nested
        .bundles
        .publish_jwt_authority(jwt_key("theirs", &mine, end));
    assert_eq!(again.await.unwrap().into_inner().jwt_authorities.len(), 2);
    let own = rig.server.authorities.jwt().unwrap().key_id().to_string();
    let far = START.0 + 400 * 86_400;
    for (request, code) in [
        (jwt_key("theirs", &spki(&rig), end), Code::AlreadyExists),
        (jwt_key(&own, &mine, end), Code::AlreadyExists),
        (jwt_key("", &mine, end), Code::InvalidArgument),
        (jwt_key("new", &mine, 0), Code::InvalidArgument),
        (jwt_key("new", &mine, START.0), Code::InvalidArgument),
        (jwt_key("new", &mine, far), Code::InvalidArgument),
        (jwt_key("new", b"no key", end), Code::InvalidArgument),
        (PublishJwtAuthorityRequest::default(), Code::InvalidArgument),
    ] {
        let refused = nested
            .bundles
            .publish_jwt_authority(request)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let count = || {
        let registry = rig.server.state.registry();
        let own = registry.bundle(rig.server.state.trust_domain()).unwrap();
        own.jwt_authorities.len()
    };
    rig.server.authorities.prune_expired().await.unwrap();
    assert_eq!(count(), 2);
    rig.clock.advance(std::time::Duration::from_secs(100 + 601));
    rig.settle().await;
    rig.server.authorities.prune_expired().await.unwrap();
    assert_eq!(count(), 1, "expired, and the skew is over");
}
