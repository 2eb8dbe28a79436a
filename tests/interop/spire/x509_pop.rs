//! Stock agents that prove their node with a certificate of the operator's CA.

use std::path::Path;

use bulla_tests::{Domain, Pki, eventually};
use serde_json::Value;

use super::stock::{Proof, StockAgent, bundle_pem, cli};

/// A stock agent that proves itself with the node's certificate.
fn join(pki: &Pki, domain: &Domain) -> StockAgent {
    let (certificate, key) = (pki.path("node.pem"), pki.path("node.key"));
    let proof = Proof::Certificate(&certificate, &key);
    StockAgent::start(domain.port(), &bundle_pem(domain), &proof)
}

/// Registers `/service` for this user, under a parent.
fn register(socket: &Path, parent: &str) {
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let mut args = vec![
        "entry",
        "create",
        "-spiffeID",
        "spiffe://example.org/service",
    ];
    args.extend(["-parentID", parent, "-selector", &uid]);
    let _ = cli(socket, args).ok();
}

fn attested(domain: &Domain) -> usize {
    let records = domain.audit("attest");
    let granted = |record: &&Value| record["result"] == "granted";
    records.iter().filter(granted).count()
}

#[tokio::test]
async fn a_stock_agent_attests_by_certificate_with_either_kind_of_key() {
    let rsa: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    for pki in [Pki::ec(), Pki::new(rsa)] {
        let domain = pki.server("", "");
        let agent = join(&pki, &domain);
        register(&domain.admin_socket(), &pki.agent_id());
        agent.await_svid(&domain.id("/service"), |_| true).await;
        let nodes = domain.admin(["node", "list", "--json"]).ok().json();
        assert_eq!(nodes[0]["id"], pki.agent_id());
        assert_eq!(nodes[0]["can_reattest"], true);
        let selectors = nodes[0]["selectors"].to_string();
        for selector in ["x509pop:subject:cn:node-1", "x509pop:serialnumber:1234"] {
            assert!(selectors.contains(selector), "{selectors}");
        }
        assert!(selectors.contains("x509pop:ca:fingerprint:"), "{selectors}");
    }
}

#[tokio::test]
async fn entries_reach_a_node_by_what_its_certificate_says() {
    let pki = Pki::ec();
    let domain = pki.server("", "");
    let agent = join(&pki, &domain);
    let rack = [
        "entry",
        "create",
        "-node",
        "-spiffeID",
        "spiffe://example.org/rack",
    ];
    let selector = ["-selector", "x509pop:subject:cn:node-1"];
    let _ = cli(&domain.admin_socket(), [&rack[..], &selector[..]].concat()).ok();
    register(&domain.admin_socket(), "spiffe://example.org/rack");
    agent.await_svid(&domain.id("/service"), |_| true).await;
}

/// SPIRE's agents do not renew when they can attest again: they attest again.
#[tokio::test]
async fn a_stock_agent_attests_again_instead_of_renewing_and_after_an_eviction() {
    let pki = Pki::ec();
    let domain = pki.server("[svid]\nagent_ttl = \"16s\"\n", "");
    let mut agent = join(&pki, &domain);
    register(&domain.admin_socket(), &pki.agent_id());
    agent.await_svid(&domain.id("/service"), |_| true).await;
    eventually("it has attested again", || {
        (attested(&domain) >= 2).then_some(())
    });
    let id = pki.agent_id();
    let _ = cli(&domain.admin_socket(), ["agent", "evict", "-spiffeID", &id]).ok();
    agent.await_log("Agent needs to re-attest; will attempt to re-attest", 1);
    eventually("it is there again", || {
        let nodes = domain.admin(["node", "list", "--json"]).ok().json();
        (nodes[0]["id"] == *id).then_some(())
    });
    assert!(
        agent.process.ended().is_none(),
        "{}",
        agent.process.output()
    );
    agent.await_svid(&domain.id("/service"), |_| true).await;
}

#[tokio::test]
async fn a_ban_holds_against_a_node_that_could_attest_again() {
    let pki = Pki::ec();
    let domain = pki.server("", "");
    let mut agent = join(&pki, &domain);
    let id = pki.agent_id();
    let _ = cli(&domain.admin_socket(), ["agent", "ban", "-spiffeID", &id]).ok();
    eventually("the banned agent stops", || agent.process.ended());
    let (certificate, key) = (pki.path("node.pem"), pki.path("node.key"));
    let mut again = agent.relaunch(domain.port(), &Proof::Certificate(&certificate, &key));
    eventually("it is not let in again", || again.process.ended());
    assert_eq!(attested(&domain), 1);
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let (ours, theirs) = (Pki::ec(), Pki::ec());
    let domain = ours.server("", "");
    let (certificate, key) = (theirs.path("node.pem"), theirs.path("node.key"));
    let proof = Proof::Certificate(&certificate, &key);
    let _agent = StockAgent::launch(domain.port(), &bundle_pem(&domain), &proof);
    let reason = eventually("a foreign node is refused", || {
        let refused = domain.audit("attest");
        Some(refused.first()?["reason"].as_str()?.to_owned())
    });
    assert!(reason.contains("leads to no trusted root"), "{reason}");
    assert_eq!(attested(&domain), 0);
}
