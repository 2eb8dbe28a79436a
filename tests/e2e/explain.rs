//! `bulla explain`, on a node and on the server.

use bulla_tests::{Domain, Ran, eventually};
use serde_json::Value;

fn explain<'a>(domain: &Domain, args: impl IntoIterator<Item = &'a str>) -> Ran {
    let mut command = bulla_tests::bulla();
    command
        .arg("explain")
        .args(args)
        .env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint())
        .env("BULLA_ADMIN_SOCKET", domain.admin_socket())
        .env("BULLA_AGENT_ADMIN_SOCKET", domain.path("agent/admin.sock"));
    Ran::of(&mut command)
}

fn texts(values: &Value) -> Vec<&str> {
    values
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect()
}

/// A process that never connects to the agent.
struct Sleeper(std::process::Child);

impl Sleeper {
    fn start() -> Self {
        let mut command = std::process::Command::new("sleep");
        Self(command.arg("600").spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An entry for this user and a program that runs nowhere; its id.
fn register_elsewhere(domain: &Domain) -> String {
    let more = ["--selector", "unix:path:/opt/api/bin/api"];
    domain.register("/elsewhere", more)
}

#[test]
fn a_process_without_identity_learns_that_and_nothing_of_others() {
    let domain = Domain::start();
    let me = explain(&domain, ["me", "--json"]);
    assert_eq!(me.code, 1, "{}", me.err);
    assert!(me.err.contains("no entry matches"), "{}", me.err);
    assert!(me.err.contains("bulla explain pid"), "{}", me.err);
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let stated = me.json();
    assert!(texts(&stated["attestors"][0]["selectors"]).contains(&uid.as_str()));

    register_elsewhere(&domain);
    domain.register("/of-user", []);
    let me = eventually("it has an identity", || {
        let ran = explain(&domain, ["me"]);
        (ran.code == 0 && !ran.out.contains("not issued yet")).then_some(ran)
    });
    let verdict = "this process is spiffe://example.org/of-user";
    assert!(me.out.contains(verdict), "{}", me.out);
    assert!(!me.out.contains("elsewhere"), "{}", me.out);
    assert!(!me.out.contains("/opt/api"), "{}", me.out);
}

#[test]
fn an_operator_learns_which_selector_of_which_entry_is_missing() {
    let domain = Domain::start();
    let entry = register_elsewhere(&domain);
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let said = eventually("the entry is near", || {
        let ran = explain(&domain, ["pid", &pid, "--json"]);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        (ran.json()["near_misses"][0]["entry_id"] == *entry).then_some(ran)
    });
    assert!(said.err.contains(&entry), "{}", said.err);
    let near = &said.json()["near_misses"][0];
    assert_eq!(near["missing"][0]["selector"], "unix:path:/opt/api/bin/api");
    let has = texts(&near["missing"][0]["process_has"]);
    assert!(
        has.len() == 1 && has[0].starts_with("unix:path:/"),
        "{has:?}"
    );
    let said = said.json();
    assert_eq!(said["server"]["reachable"], true);
    let agent = said["agent"]["spiffe_id"].as_str().unwrap();
    assert!(agent.contains("/spire/agent/"), "{agent}");
    let text = explain(&domain, ["pid", &pid]).out;
    assert!(text.contains("unix:path:/opt/api/bin/api"), "{text}");

    domain.register("/of-user", []);
    eventually("it has an identity", || {
        (explain(&domain, ["pid", &pid]).code == 0).then_some(())
    });
    drop(sleeper);
    assert_eq!(explain(&domain, ["pid", &pid]).code, 4);
}

#[test]
fn without_its_server_an_agent_says_so_and_how_old_its_view_is() {
    let mut domain = Domain::start();
    domain.register("/api", []);
    domain.await_svid("/api");
    domain.server.take().unwrap().kill();
    let pid = std::process::id().to_string();
    let said = eventually("the agent misses its server", || {
        let ran = explain(&domain, ["pid", &pid, "--json"]);
        (ran.json()["server"]["reachable"] == false).then_some(ran)
    });
    assert_eq!(said.code, 0, "it still has its identity: {}", said.err);
    let said = said.json();
    assert!(!said["server"]["problem"].as_str().unwrap().is_empty());
    assert!(said["view"]["since"].as_i64().unwrap() > 0);
    drop(domain.agent.take());
    assert_eq!(explain(&domain, ["pid", &pid]).code, 3);
    assert_eq!(explain(&domain, ["me"]).code, 3);
    assert_eq!(explain(&domain, ["id", "spiffe://example.org/api"]).code, 3);
}

#[test]
fn an_admin_learns_which_entries_and_nodes_yield_an_id_and_who_holds_it() {
    let domain = Domain::start();
    let id = domain.id("/api");
    let none = explain(&domain, ["id", &id]);
    assert_eq!(none.code, 4, "{}", none.err);
    let entry = domain.register("/api", []);
    let svid = domain.await_svid("/api");
    let _ = domain.fetch(["jwt", "--audience", "x"]).ok();
    let said = explain(&domain, ["id", &id, "--json"]).ok().json();
    assert_eq!(said["entries"][0]["id"], *entry);
    assert_eq!(said["entries"][0]["state"], "counts");
    let node = &said["nodes"][0];
    assert_eq!(
        (&node["state"], &node["entry_id"]),
        (&"active".into(), &said["entries"][0]["id"])
    );
    assert_eq!(
        texts(&node["via"]),
        [domain.id("/node")],
        "through the token's alias"
    );
    let holder = |kind: &str| -> Value {
        let mut all = said["holders"].as_array().unwrap().iter();
        all.find(|h| h["kind"] == kind).cloned().unwrap()
    };
    assert_eq!(holder("issue_x509")["who"], node["agent"]);
    assert_eq!(holder("issue_x509")["credential_id"], svid["serial"]);
    assert_eq!(holder("issue_jwt")["count"], 1);

    let lost = domain.id("/lost");
    let nowhere = domain.id("/nowhere");
    let create = [
        "entry",
        "create",
        "--spiffe-id",
        &lost,
        "--parent-id",
        &nowhere,
    ];
    let _ = domain
        .admin(create.iter().copied().chain(["--selector", "unix:uid:1"]))
        .ok();
    let said = explain(&domain, ["id", &lost]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains(&nowhere), "{}", said.out);

    let agent = node["agent"].as_str().unwrap();
    let _ = domain.admin(["node", "ban", agent]).ok();
    let banned = explain(&domain, ["id", &id, "--json"]);
    assert_eq!(banned.code, 1, "{}", banned.err);
    assert_eq!(banned.json()["nodes"][0]["state"], "banned");
    assert_eq!(explain(&domain, ["id", "no-id"]).code, 2);
}
