//! Bundles: the own for anyone, federated ones checked before they are kept.

use api::bundle::batch_delete_federated_bundle_request::Mode;
use api::bundle::{
    AppendBundleRequest, BatchCreateFederatedBundleRequest, BatchDeleteFederatedBundleRequest,
    BatchSetFederatedBundleRequest, BatchUpdateFederatedBundleRequest, CountBundlesRequest,
    GetBundleRequest, GetFederatedBundleRequest, ListFederatedBundlesRequest,
};
use api::types::{BundleMask, X509Certificate};
use tonic::Code;

use super::*;

fn ca(is_ca: bool) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    if is_ca {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    params.self_signed(&key).unwrap().der().to_vec()
}

fn bundle(trust_domain: &str, der: Vec<u8>) -> types::Bundle {
    types::Bundle {
        trust_domain: trust_domain.into(),
        x509_authorities: vec![X509Certificate {
            asn1: der.into(),
            tainted: false,
        }],
        ..Default::default()
    }
}

#[tokio::test]
async fn anyone_reads_the_own_bundle() {
    let rig = Rig::memory().await;
    let mut stranger = connect(&rig, Who::Anonymous).await;
    let own = stranger
        .bundles
        .get_bundle(GetBundleRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(own.trust_domain, "example.org");
    assert!(!own.x509_authorities.is_empty() && !own.jwt_authorities.is_empty());
    let mask = BundleMask {
        sequence_number: true,
        ..Default::default()
    };
    let masked = GetBundleRequest {
        output_mask: Some(mask),
    };
    let masked = stranger
        .bundles
        .get_bundle(masked)
        .await
        .unwrap()
        .into_inner();
    assert!(masked.x509_authorities.is_empty() && masked.sequence_number > 0);
    let error = stranger
        .bundles
        .count_bundles(CountBundlesRequest {})
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn federated_bundles_are_checked_one_by_one() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let request = BatchCreateFederatedBundleRequest {
        bundle: vec![
            bundle("spiffe://other.test", ca(true)),
            bundle("other.test", ca(true)),
            bundle("leaf.test", ca(false)),
            bundle("junk.test", b"junk".into()),
            bundle("example.org", ca(true)),
            bundle("no domain", ca(true)),
        ],
        output_mask: None,
    };
    let results = admin
        .bundles
        .batch_create_federated_bundle(request)
        .await
        .unwrap()
        .into_inner()
        .results;
    let codes: Vec<_> = results.iter().map(|r| code(r.status.as_ref())).collect();
    use Code::{AlreadyExists, InvalidArgument, Ok};
    assert_eq!(
        codes,
        [
            Ok,
            AlreadyExists,
            InvalidArgument,
            InvalidArgument,
            InvalidArgument,
            InvalidArgument
        ]
    );
    assert_eq!(
        results[0].bundle.as_ref().unwrap().trust_domain,
        "other.test"
    );
}

#[tokio::test]
async fn federated_bundles_are_read_and_updated() {
    use Code::NotFound;
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let set = BatchSetFederatedBundleRequest {
        bundle: vec![
            bundle("other.test", ca(true)),
            bundle("third.test", ca(true)),
        ],
        output_mask: None,
    };
    admin.bundles.batch_set_federated_bundle(set).await.unwrap();
    // An agent may read it, and not change it.
    let node = rig.agent().await;
    let mut agent = connect(&rig, Who::agent(&node)).await;
    let get = |of: &str| GetFederatedBundleRequest {
        trust_domain: of.into(),
        output_mask: None,
    };
    agent
        .bundles
        .get_federated_bundle(get("spiffe://other.test/x"))
        .await
        .unwrap();
    assert_eq!(
        agent
            .bundles
            .get_federated_bundle(get("gone.test"))
            .await
            .unwrap_err()
            .code(),
        NotFound
    );

    let update = BatchUpdateFederatedBundleRequest {
        bundle: vec![
            types::Bundle {
                trust_domain: "other.test".into(),
                refresh_hint: 60,
                ..Default::default()
            },
            bundle("gone.test", ca(true)),
        ],
        input_mask: Some(BundleMask {
            refresh_hint: true,
            ..Default::default()
        }),
        output_mask: None,
    };
    let results = admin
        .bundles
        .batch_update_federated_bundle(update)
        .await
        .unwrap()
        .into_inner()
        .results;
    let updated = results[0].bundle.as_ref().unwrap();
    assert_eq!(
        (updated.refresh_hint, updated.x509_authorities.len()),
        (60, 1)
    );
    assert_eq!(code(results[1].status.as_ref()), NotFound);
}

#[tokio::test]
async fn federated_bundles_are_listed_in_pages() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let set = BatchSetFederatedBundleRequest {
        bundle: vec![
            bundle("other.test", ca(true)),
            bundle("third.test", ca(true)),
        ],
        output_mask: None,
    };
    admin.bundles.batch_set_federated_bundle(set).await.unwrap();
    let list = ListFederatedBundlesRequest {
        page_size: 1,
        ..Default::default()
    };
    let first = admin
        .bundles
        .list_federated_bundles(list.clone())
        .await
        .unwrap()
        .into_inner();
    let second = ListFederatedBundlesRequest {
        page_token: first.next_page_token,
        ..list
    };
    let second = admin
        .bundles
        .list_federated_bundles(second)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.bundles[0].trust_domain, "other.test");
    assert_eq!(second.bundles[0].trust_domain, "third.test");
    assert_eq!(second.next_page_token, "");
    // The own one counts too.
    let count = admin
        .bundles
        .count_bundles(CountBundlesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(count.count, 3);
}

#[tokio::test]
async fn deleting_a_bundle_minds_the_entries_that_federate_with_it() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let set = BatchSetFederatedBundleRequest {
        bundle: vec![bundle("other.test", ca(true))],
        output_mask: None,
    };
    admin.bundles.batch_set_federated_bundle(set).await.unwrap();
    let parent = rig.id("/spire/agent/join_token/a");
    let other = identity::TrustDomain::parse("other.test").unwrap();
    rig.create(rig.entry_with(&parent, "web", |entry| entry.federates_with = vec![other]))
        .await;
    let delete = |mode: Mode| BatchDeleteFederatedBundleRequest {
        trust_domains: vec!["spiffe://other.test".into()],
        mode: mode.into(),
    };
    let mut deleted = async |mode| {
        let answer = admin
            .bundles
            .batch_delete_federated_bundle(delete(mode))
            .await
            .unwrap();
        let result = answer.into_inner().results.remove(0);
        // It is echoed as it was asked.
        assert_eq!(result.trust_domain, "spiffe://other.test");
        code(result.status.as_ref())
    };
    assert_eq!(deleted(Mode::Restrict).await, Code::FailedPrecondition);
    assert_eq!(deleted(Mode::Dissociate).await, Code::Ok);
    assert!(
        rig.server
            .state
            .registry()
            .entries()
            .next()
            .unwrap()
            .federates_with
            .is_empty()
    );
    assert_eq!(deleted(Mode::Restrict).await, Code::NotFound);
}

#[tokio::test]
async fn an_admin_may_append_to_the_own_bundle() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let append = |der: Vec<u8>| AppendBundleRequest {
        x509_authorities: vec![X509Certificate {
            asn1: der.into(),
            tainted: false,
        }],
        ..Default::default()
    };
    let error = admin
        .bundles
        .append_bundle(append(ca(false)))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let der = ca(true);
    let own = admin
        .bundles
        .append_bundle(append(der.clone()))
        .await
        .unwrap()
        .into_inner();
    assert!(
        own.x509_authorities
            .iter()
            .any(|authority| authority.asn1 == der)
    );
}
