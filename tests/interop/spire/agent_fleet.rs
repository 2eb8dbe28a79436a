//! What an administrator does to stock agents: large sets of entries, bans,
//! evictions, tainted keys.

use api::entry::BatchCreateEntryRequest;
use api::entry::entry_client::EntryClient;
use api::types;
use bulla_tests::{Domain, Settings, eventually};
use channel::{ChannelOptions, uds_channel};
use serde_json::Value;

use super::stock::{Proof, bundle_pem, cli, join, token};

fn wire_id(path: String) -> Option<types::Spiffeid> {
    let trust_domain = Domain::NAME.to_owned();
    Some(types::Spiffeid { trust_domain, path })
}

/// Registers `count` entries of workloads that nobody runs, under `/node`.
async fn register_others(domain: &Domain, count: usize) {
    let options = ChannelOptions::default();
    let channel = uds_channel(&domain.admin_socket(), &options).await.unwrap();
    let mut client = EntryClient::new(channel);
    let others: Vec<_> = (0..count)
        .map(|n| types::Entry {
            spiffe_id: wire_id(format!("/other/{n}")),
            parent_id: wire_id("/node".to_owned()),
            selectors: vec![types::Selector {
                r#type: "unix".into(),
                value: format!("uid:{}", 1_000_000 + n),
            }],
            ..Default::default()
        })
        .collect();
    for entries in others.chunks(500) {
        let request = BatchCreateEntryRequest {
            entries: entries.to_vec(),
            output_mask: None,
        };
        let results = client.batch_create_entry(request).await.unwrap();
        for result in results.into_inner().results {
            let code = result.status.unwrap().code;
            assert!(
                code == 0 || code == tonic::Code::AlreadyExists as i32,
                "{code}"
            );
        }
    }
}

/// A page of SPIRE's sync holds 500 entries: below it the agent is given entries,
/// above it revisions, and asks for what it lacks.
#[tokio::test]
async fn a_stock_agent_syncs_below_and_above_a_page() {
    let domain = Domain::server_alone(Settings::default());
    let agent = join(&domain);
    register_others(&domain, 400).await;
    let below = domain.register("/below", []);
    agent.await_svid(&domain.id("/below"), |_| true).await;
    agent.await_log("Entry created", 401);

    register_others(&domain, 1_203).await;
    domain.register("/above", []);
    agent.await_svid(&domain.id("/above"), |_| true).await;
    // 400 of the 1,203 were there already: the same entry is not made twice.
    agent.await_log("Entry created", 1_205);

    let _ = domain
        .admin(["entry", "update", &below, "--hint", "new"])
        .ok();
    let hinted = |svid: &spiffe::X509Svid| svid.hint() == Some("new");
    agent.await_svid(&domain.id("/below"), hinted).await;
    let _ = domain.admin(["entry", "delete", &below]).ok();
    agent.await_log("Entry removed", 1);
    agent.await_svid(&domain.id("/above"), |_| true).await;
}

fn only_node(domain: &Domain) -> Value {
    let nodes = domain.admin(["node", "list", "--json"]).ok().json();
    nodes[0].clone()
}

#[tokio::test]
async fn a_banned_stock_agent_stops_and_cannot_come_back() {
    let domain = Domain::server_alone(Settings::default());
    let socket = domain.admin_socket();
    let mut agent = join(&domain);
    let node = only_node(&domain);
    let id = node["id"].as_str().unwrap();
    let banned = cli(&socket, ["agent", "ban", "-spiffeID", id]).ok();
    assert_eq!(banned.out, "Agent banned successfully\n");
    eventually("the banned agent stops", || agent.process.ended());
    assert!(agent.process.output().contains("Agent is banned"));
    assert_eq!(only_node(&domain)["banned"], true);
}

#[tokio::test]
async fn an_evicted_stock_agent_attests_again_and_needs_a_new_token() {
    let domain = Domain::server_alone(Settings::default());
    let socket = domain.admin_socket();
    let mut agent = join(&domain);
    let evicted = only_node(&domain)["id"].as_str().unwrap().to_owned();
    let done = cli(&socket, ["agent", "evict", "-spiffeID", &evicted]).ok();
    assert_eq!(done.out, "Agent evicted successfully\n");
    // It drops its SVID and attests again, which its used token does not allow.
    eventually("the evicted agent stops", || agent.process.ended());
    assert!(
        agent
            .process
            .output()
            .contains("Agent failed re-attestation")
    );
    let token = token(&socket);
    let bundle = bundle_pem(&domain);
    let again = agent.restart(domain.port(), &bundle, &Proof::Token(&token));
    domain.register("/service", []);
    again.await_svid(&domain.id("/service"), |_| true).await;
    assert_ne!(only_node(&domain)["id"], *evicted);
}

/// Makes the next signing key of a profile the active one and taints the one
/// before, with the stock command line. Returns the tainted key's id.
fn replace_key(domain: &Domain, profile: &str) -> String {
    let run = |action: &str, id: Option<&str>| {
        let mut args = vec!["localauthority", profile, action];
        args.extend(id.iter().flat_map(|id| ["-authorityID", id]));
        args.extend(["-output", "json"]);
        cli(&domain.admin_socket(), args).ok().json()
    };
    let id = |shown: &Value, slot: &str| shown[slot]["authority_id"].as_str().unwrap().to_owned();
    let old = id(&run("show", None), "active");
    let new = id(&run("prepare", None), "prepared_authority");
    let active = run("activate", Some(&new));
    assert_eq!(id(&active, "activated_authority"), new);
    let tainted = run("taint", Some(&old));
    assert_eq!(id(&tainted, "tainted_authority"), old);
    old
}

#[tokio::test]
async fn a_stock_agent_replaces_what_a_tainted_authority_signed() {
    let domain = Domain::server_alone(Settings::default());
    let agent = join(&domain);
    domain.register("/service", []);
    let id = domain.id("/service");
    let old = agent.await_svid(&id, |_| true).await;
    replace_key(&domain, "x509");
    let replaced = |svid: &spiffe::X509Svid| svid.leaf().as_bytes() != old.leaf().as_bytes();
    agent.await_svid(&id, replaced).await;
    // Its own SVID too: the log line of a rotation that nothing else asks for.
    agent.await_log("Successfully rotated agent SVID", 1);
}

#[tokio::test]
async fn a_stock_agent_forgets_tokens_of_a_tainted_key() {
    let domain = Domain::server_alone(Settings::default());
    let agent = join(&domain);
    domain.register("/service", []);
    agent.await_svid(&domain.id("/service"), |_| true).await;
    let client = agent.workload_api().await;
    let first = client.fetch_jwt_token(["payments"], None).await.unwrap();
    let cached = client.fetch_jwt_token(["payments"], None).await.unwrap();
    assert_eq!(first, cached, "a stock agent keeps tokens");
    replace_key(&domain, "jwt");
    agent.await_log("JWT-SVIDs were removed from the JWT cache", 1);
    let second = client.fetch_jwt_token(["payments"], None).await.unwrap();
    assert_ne!(first, second);
    client
        .validate_jwt_token("payments", &second)
        .await
        .unwrap();
}
