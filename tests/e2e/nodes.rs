//! Nodes from the command line: banned and evicted agents lose everything.

use bulla_tests::{Domain, Ran, eventually};

fn node(domain: &Domain) -> String {
    let nodes = domain.admin(["node", "list", "--json"]).ok().json();
    nodes[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_banned_agent_stops_serving_and_cannot_come_back() {
    let mut domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let node = node(&domain);
    let _ = domain.admin(["node", "ban", &node]).ok();
    let mut agent = domain.agent.take().unwrap();
    eventually("the agent ends", || agent.ended());
    assert_ne!(domain.fetch(["x509"]).code, 0);
    let shown = domain.admin(["node", "show", &node, "--json"]).ok().json();
    assert_eq!(shown["banned"], true);

    let again = Ran::of(&mut domain.agent_command(None));
    assert_ne!(again.code, 0, "a banned agent does not start");
    assert_eq!(domain.audit("node_ban").len(), 1);
}

#[test]
fn an_evicted_agent_joins_again_with_a_new_token() {
    let mut domain = Domain::start();
    let first = node(&domain);
    let _ = domain.admin(["node", "evict", &first]).ok();
    assert_eq!(domain.admin(["node", "show", &first]).code, 4);
    domain.agent.take().unwrap().kill();
    std::fs::remove_dir_all(domain.path("agent/data")).unwrap();
    domain.join_agent();
    assert_ne!(node(&domain), first);
}

#[test]
fn a_node_that_does_not_exist_is_exit_code_four() {
    let domain = Domain::start();
    let id = domain.id("/spire/agent/join_token/nobody");
    for verb in ["show", "ban", "evict"] {
        let ran = domain.admin(["node", verb, &id]);
        assert_eq!(ran.code, 4, "{verb}: {}", ran.err);
    }
}
