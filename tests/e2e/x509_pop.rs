//! Our own agent on a node with a certificate of the operator's CA: no token, and it
//! attests again by itself.

use bulla_tests::{Domain, Pki, eventually};
use serde_json::Value;

/// A domain whose agent proves itself with the node's certificate.
fn domain(pki: &Pki, server: &str) -> Domain {
    let file = |name: &str| pki.path(name).display().to_string();
    let agent = format!(
        "bundle_file = {:?}\n[attestors.x509_pop]\ncertificate_file = {:?}\nkey_file = {:?}\n",
        file("bundle.pem"),
        file("node.pem"),
        file("node.key"),
    );
    let domain = pki.server(server, &agent);
    let bundle = domain.admin(["bundle", "show", "--format", "pem"]).ok();
    std::fs::write(pki.path("bundle.pem"), bundle.out).unwrap();
    domain
}

fn register(domain: &Domain, pki: &Pki) {
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let (id, parent) = (domain.id("/service"), pki.agent_id());
    let entry = [
        "entry",
        "create",
        "--spiffe-id",
        &id,
        "--parent-id",
        &parent,
    ];
    let _ = domain
        .admin([&entry[..], &["--selector", &uid]].concat())
        .ok();
}

fn granted(domain: &Domain, kind: &str) -> usize {
    let records = domain.audit(kind);
    let granted = |record: &&Value| record["result"] == "granted";
    records.iter().filter(granted).count()
}

/// NotBefore lies a minute back, so with so short a lifetime half of it is always over.
#[test]
fn an_agent_attests_by_certificate_and_again_instead_of_renewing() {
    let pki = Pki::ec();
    let mut domain = domain(&pki, "[svid]\nagent_ttl = \"12s\"\n");
    domain.start_agent(None);
    register(&domain, &pki);
    domain.await_svid("/service");
    eventually("it has attested again twice", || {
        (granted(&domain, "attest") >= 3).then_some(())
    });
    assert_eq!(granted(&domain, "renew"), 0);
    let node = domain.admin(["node", "list", "--json"]).ok().json();
    assert_eq!(node[0]["id"], pki.agent_id());
    domain.await_svid("/service");
    domain.stop();
}

#[test]
fn an_evicted_agent_with_a_certificate_comes_back_and_a_banned_one_does_not() {
    let pki = Pki::ec();
    let mut domain = domain(&pki, "");
    domain.start_agent(None);
    register(&domain, &pki);
    domain.await_svid("/service");
    let _ = domain.admin(["node", "evict", &pki.agent_id()]).ok();
    eventually("it is there again", || {
        (granted(&domain, "attest") >= 2).then_some(())
    });
    domain.await_svid("/service");
    let _ = domain.admin(["node", "ban", &pki.agent_id()]).ok();
    let agent = domain.agent.take().unwrap();
    assert!(!agent.wait("the banned agent ends").success());
    domain.start_agent_unwaited();
    let agent = domain.agent.take().unwrap();
    assert!(!agent.wait("it is not let in again").success());
    assert_eq!(granted(&domain, "attest"), 2);
}
