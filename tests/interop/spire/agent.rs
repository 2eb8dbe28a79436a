//! A stock `spire-agent` on one node: it attests to our server, serves its own
//! Workload API from what it syncs, and keeps its identities fresh.

use std::collections::BTreeSet;

use bulla_tests::{Domain, Settings, eventually};

use super::side_by_side::trusts;
use super::stock::{Proof, bundle_pem, join};

#[tokio::test]
async fn a_stock_agent_attests_and_serves_its_workloads() {
    let domain = Domain::server_alone(Settings::default());
    let agent = join(&domain);
    domain.register("/service", ["--dns-name", "service.example.org"]);
    let id = domain.id("/service");
    let svid = agent.await_svid(&id, |_| true).await;

    trusts(&agent, &svid).await;

    let client = agent.workload_api().await;
    let token = client.fetch_jwt_svid(["payments"], None).await.unwrap();
    assert_eq!(token.spiffe_id().to_string(), id);
    let validated = client.validate_jwt_token("payments", token.token()).await;
    assert_eq!(validated.unwrap().spiffe_id().to_string(), id);
    client
        .validate_jwt_token("another", token.token())
        .await
        .unwrap_err();

    let nodes = domain.admin(["node", "list", "--json"]).ok().json();
    assert_eq!(nodes[0]["attestor"], "join_token");
}

#[tokio::test]
async fn a_stock_agent_renews_itself_and_its_workloads() {
    let domain = Domain::server_alone(Settings {
        server: "[svid]\nagent_ttl = \"16s\"\n".into(),
        ..Settings::default()
    });
    let agent = join(&domain);
    domain.register("/service", ["--x509-ttl", "10"]);
    let id = domain.id("/service");
    let mut leaves = BTreeSet::new();
    for _ in 0..3 {
        let fresh = |svid: &spiffe::X509Svid| leaves.insert(svid.leaf().as_bytes().to_vec());
        let _svid = agent.await_svid(&id, fresh).await;
    }
    // Two renewals of its own: the second was asked for with the SVID of the first.
    eventually("the agent has renewed itself twice", || {
        let granted = domain.audit("renew").into_iter();
        let granted = granted.filter(|record| record["result"] == "granted");
        (granted.count() >= 4).then_some(())
    });
    agent.await_log("Successfully rotated agent SVID", 2);
}

#[tokio::test]
async fn a_stock_agent_comes_back_on_what_it_has_stored() {
    let mut domain = Domain::server_alone(Settings::default());
    let agent = join(&domain);
    domain.register("/service", []);
    let id = domain.id("/service");
    agent.await_svid(&id, |_| true).await;
    let port = domain.port();
    // The server goes away and comes back; the agent restarts meanwhile.
    drop(domain.server.take());
    domain.start_server();
    let agent = agent.restart(port, &bundle_pem(&domain), &Proof::Kept);
    agent.await_svid(&id, |_| true).await;
    let nodes = domain.admin(["node", "list", "--json"]).ok().json();
    assert_eq!(nodes.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stock_agent_follows_creations_updates_and_deletions() {
    let domain = Domain::server_alone(Settings::default());
    let agent = join(&domain);
    let first = domain.register("/first", []);
    agent.await_svid(&domain.id("/first"), |_| true).await;
    let _ = domain
        .admin(["entry", "update", &first, "--hint", "external"])
        .ok();
    agent
        .await_svid(&domain.id("/first"), |svid| svid.hint() == Some("external"))
        .await;
    let _ = domain.admin(["entry", "delete", &first]).ok();
    domain.register("/second", []);
    agent.await_svid(&domain.id("/second"), |_| true).await;
    let client = agent.workload_api().await;
    let svids = client.fetch_all_x509_svids().await.unwrap();
    assert_eq!(svids.len(), 1, "the deleted entry's SVID is gone");
}
