//! The crates.io `spiffe` client, in this process.

use bulla_tests::Domain;
use spiffe::WorkloadApiClient;
use tokio_stream::StreamExt as _;

const AUDIENCE: &str = "payments";

#[tokio::test]
async fn crate_spiffe_fetches_watches_and_validates() {
    let domain = Domain::start();
    domain.register("/service", ["--x509-ttl", "6"]);
    domain.await_svid("/service");
    let client = WorkloadApiClient::connect_to(&domain.endpoint())
        .await
        .unwrap();
    let svid = client.fetch_x509_svid().await.unwrap();
    assert_eq!(svid.spiffe_id().to_string(), domain.id("/service"));
    let bundles = client.fetch_x509_bundles().await.unwrap();
    assert!(bundles.get(svid.spiffe_id().trust_domain()).is_some());

    let jwt = client.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
    assert_eq!(jwt.spiffe_id().to_string(), domain.id("/service"));
    client
        .validate_jwt_token(AUDIENCE, jwt.token())
        .await
        .unwrap();
    client
        .validate_jwt_token("another-audience", jwt.token())
        .await
        .unwrap_err();

    let mut updates = Box::pin(client.stream_x509_svids().await.unwrap());
    let first = updates.next().await.unwrap().unwrap();
    let second = updates.next().await.unwrap().unwrap();
    assert_ne!(
        first.leaf().as_bytes(),
        second.leaf().as_bytes(),
        "a renewal"
    );
}

/// The message by which this client knows that it may retry.
#[tokio::test]
async fn a_process_without_an_entry_is_told_in_the_words_clients_know() {
    let domain = Domain::start();
    let client = WorkloadApiClient::connect_to(&domain.endpoint())
        .await
        .unwrap();
    let refused = client.fetch_x509_svid().await.unwrap_err();
    assert!(
        format!("{refused:?}").contains("NoIdentityIssued"),
        "{refused:?}"
    );
}
