//! What the server says of itself, and its decision log.

use api::audit::{HeadRequest, ListRequest, VerifyRequest};
use api::info::GetRequest;
use tonic::Code;

use super::*;

#[tokio::test]
async fn the_pins_are_those_of_the_own_bundle() {
    let rig = Rig::memory().await;
    rig.agent().await;
    let mut admin = connect(&rig, Who::Local).await;
    let info = admin.info.get(GetRequest {}).await.unwrap().into_inner();
    let registry = rig.server.state.registry();
    let own = registry.bundle(rig.server.state.trust_domain()).unwrap();
    let sha256 = ring::digest::digest(&ring::digest::SHA256, &own.x509_authorities[0].der);
    assert_eq!(info.bundle_sha256, [hex::encode(sha256)]);
    assert_eq!(
        (info.trust_domain.as_str(), info.agents, info.store.as_str()),
        ("example.org", 1, "memory")
    );
    let profiles: Vec<_> = info
        .keys
        .iter()
        .map(|key| (key.profile.as_str(), key.state.as_str()))
        .collect();
    assert_eq!(
        profiles,
        [("x509", "active"), ("jwt", "active"), ("access", "active")]
    );
}

#[tokio::test]
async fn the_decision_log_is_listed_filtered_and_verified() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let mut admin = connect(&rig, Who::Local).await;
    let list = ListRequest {
        kinds: vec!["attest".into()],
        spiffe_id: node.id.as_str().into(),
        ..Default::default()
    };
    let mut records = admin.audit.list(list).await.unwrap().into_inner();
    let record = records.message().await.unwrap().unwrap();
    assert_eq!(
        (record.kind.as_str(), record.result.as_str()),
        ("attest", "granted")
    );
    assert_eq!(record.for_whom, node.id.as_str());
    assert_eq!(record.credential_id, node.serial.to_string());
    assert!(records.message().await.unwrap().is_none());

    let unknown = ListRequest {
        kinds: vec!["lunch".into()],
        ..Default::default()
    };
    assert_eq!(
        admin.audit.list(unknown).await.unwrap_err().code(),
        Code::InvalidArgument
    );

    let head = admin.audit.head(HeadRequest {}).await.unwrap().into_inner();
    let verify = VerifyRequest {
        seq: head.seq,
        hash: head.hash.clone(),
    };
    let verified = admin.audit.verify(verify).await.unwrap().into_inner();
    assert!(verified.intact, "{}", verified.fault);
    // A head that this log never had: something was cut off or changed.
    let other = VerifyRequest {
        seq: head.seq + 5,
        hash: head.hash,
    };
    assert!(!admin.audit.verify(other).await.unwrap().into_inner().intact);
    let short = VerifyRequest {
        seq: 1,
        hash: "x".into(),
    };
    assert_eq!(
        admin.audit.verify(short).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_followed_log_tells_what_happens() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let list = ListRequest {
        kinds: vec!["attest".into()],
        follow: true,
        ..Default::default()
    };
    let mut records = admin.audit.list(list).await.unwrap().into_inner();
    let node = rig.agent().await;
    let record = records.message().await.unwrap().unwrap();
    assert_eq!(record.for_whom, node.id.as_str());
}
