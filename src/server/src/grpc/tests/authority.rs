//! Signing keys by hand: a successor is made, signs, and the old one is tainted and
//! taken out; what does not exist here is said so.

use api::localauthority::local_authority_client::LocalAuthorityClient;
use api::localauthority::{
    ActivateX509AuthorityRequest, GetWitAuthorityStateRequest, GetX509AuthorityStateRequest,
    PrepareX509AuthorityRequest, RevokeX509AuthorityRequest, TaintX509AuthorityRequest,
    TaintX509UpstreamAuthorityRequest,
};
use records::{AuditKind, AuditOutcome};
use tonic::Code;

use super::*;

type Client = LocalAuthorityClient<Channel>;

async fn slots(client: &mut Client) -> [Option<String>; 3] {
    let state = client
        .get_x509_authority_state(GetX509AuthorityStateRequest {})
        .await;
    let state = state.unwrap().into_inner();
    [state.active, state.prepared, state.old].map(|slot| slot.map(|key| key.authority_id))
}

#[tokio::test]
async fn a_rotation_by_hand() {
    let rig = Rig::memory().await;
    let mut client = LocalAuthorityClient::new(channel(&rig, Who::Local).await);
    let [first, none, _] = slots(&mut client).await;
    assert!(first.is_some() && none.is_none());
    let prepared = client
        .prepare_x509_authority(PrepareX509AuthorityRequest {})
        .await
        .unwrap();
    let second = prepared
        .into_inner()
        .prepared_authority
        .unwrap()
        .authority_id;
    assert_eq!(slots(&mut client).await[1].as_ref(), Some(&second));
    let activate = ActivateX509AuthorityRequest {
        authority_id: second.clone(),
    };
    client.activate_x509_authority(activate).await.unwrap();
    assert_eq!(
        slots(&mut client).await,
        [Some(second.clone()), None, first.clone()]
    );

    let first = first.unwrap();
    let taint = TaintX509AuthorityRequest {
        authority_id: first.clone(),
    };
    client.taint_x509_authority(taint).await.unwrap();
    let registry = |rig: &Rig| {
        rig.server
            .state
            .registry()
            .bundle(rig.server.state.trust_domain())
            .cloned()
            .unwrap()
    };
    assert_eq!(
        registry(&rig)
            .x509_authorities
            .iter()
            .filter(|a| a.tainted)
            .count(),
        1
    );
    let revoke = RevokeX509AuthorityRequest {
        authority_id: first,
    };
    client.revoke_x509_authority(revoke).await.unwrap();
    assert_eq!(registry(&rig).x509_authorities.len(), 1);
    assert!(rig.count(AuditKind::KeyRotation, AuditOutcome::Granted) > 0);
}

#[tokio::test]
async fn d3_tainting_a_prepared_key_answers_with_it() {
    let rig = Rig::memory().await;
    let mut client = LocalAuthorityClient::new(channel(&rig, Who::Local).await);
    let prepared = client.prepare_x509_authority(PrepareX509AuthorityRequest {});
    let prepared = prepared.await.unwrap().into_inner().prepared_authority;
    let prepared = prepared.unwrap();
    let taint = TaintX509AuthorityRequest {
        authority_id: prepared.authority_id.clone(),
    };
    let tainted = client.taint_x509_authority(taint).await.unwrap();
    assert_eq!(tainted.into_inner().tainted_authority, Some(prepared));
    assert_eq!(
        slots(&mut client).await[1],
        None,
        "it signed nothing, so it is gone"
    );
}

#[tokio::test]
async fn unknown_keys_and_profiles_are_refused() {
    let rig = Rig::memory().await;
    let mut client = LocalAuthorityClient::new(channel(&rig, Who::Local).await);
    let unknown = TaintX509AuthorityRequest {
        authority_id: "nope".into(),
    };
    assert_eq!(
        client
            .taint_x509_authority(unknown)
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
    let empty = RevokeX509AuthorityRequest::default();
    assert_eq!(
        client
            .revoke_x509_authority(empty)
            .await
            .unwrap_err()
            .code(),
        Code::InvalidArgument
    );
    let upstream = TaintX509UpstreamAuthorityRequest::default();
    let error = client
        .taint_x509_upstream_authority(upstream)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    let wit = client
        .get_wit_authority_state(GetWitAuthorityStateRequest {})
        .await
        .unwrap_err();
    assert_eq!(wit.code(), Code::Unimplemented);
    let mut agent = LocalAuthorityClient::new(channel(&rig, Who::agent(&rig.agent().await)).await);
    let error = agent
        .get_x509_authority_state(GetX509AuthorityStateRequest {})
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
}
