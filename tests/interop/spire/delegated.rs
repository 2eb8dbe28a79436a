//! A node proxy on SPIRE's API is given other workloads' identities by our agent as
//! by a stock one, and by neither unless it is configured.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bulla_tests::{
    Domain, Process, Ran, Settings, bulla, eventually, eventually_within, need_root, peer,
};
use serde_json::Value;

use super::stock::{StockAgent, cli, join};

/// A user that nobody else in the tests is.
const WORKLOAD_UID: u32 = 4_242;
const SELECTOR: &str = "unix:uid:4242";
const DELEGATES: &str = "[delegated_identity]\nauthorized_delegates = [\"spiffe://example.org/delegate\"]\nattested_only = false\n";
const UPDATES: usize = 3;
/// A stock agent looks every five seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A step, the IDs that it gave or what it was refused with, and a detail.
type Step = (String, String, String);

fn domain(agent: &str) -> Domain {
    let domain = Domain::start_with(Settings {
        agent: agent.to_owned(),
        ..Settings::default()
    });
    let _delegate = domain.register("/delegate", []);
    domain.await_svid("/delegate");
    register_workload(&domain, "/service", &["-x509SVIDTTL", "8"]);
    domain
}

fn register_workload(domain: &Domain, path: &str, more: &[&str]) {
    let (id, node) = (domain.id(path), domain.id("/node"));
    let mut args = vec!["entry", "create", "-spiffeID", &id, "-parentID", &node];
    args.extend(["-selector", SELECTOR]);
    args.extend(more);
    let _ = cli(&domain.admin_socket(), args).ok();
}

/// A workload that speaks no SPIFFE.
fn workload(domain: &Domain) -> Process {
    need_root("starts a process of another user");
    let mut command = Command::new("sleep");
    command.arg("600").uid(WORKLOAD_UID).gid(WORKLOAD_UID);
    Process::start(&mut command, &domain.path("workload.log"))
}

/// What the proxy saw at an agent, step by step, up to the last of so many updates.
fn proxy(socket: &Path, workload: &Process, updates: usize) -> Vec<Step> {
    let mut command = Command::new(peer("delegate"));
    command.arg(socket).arg(workload.pid().to_string());
    command.args([SELECTOR, "payments", &updates.to_string()]);
    let ran = Ran::of(&mut command).ok();
    let lines = ran.out.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a JSON line");
        ["step", "id", "detail"].map(|part| line[part].as_str().unwrap().to_owned())
    });
    lines.map(|[step, id, detail]| (step, id, detail)).collect()
}

fn outcomes(seen: &[Step]) -> Vec<(&str, &str)> {
    let steps = seen.iter().skip(1);
    steps
        .map(|(step, id, _)| (step.as_str(), id.as_str()))
        .collect()
}

#[test]
fn a_delegate_is_served_as_by_a_stock_agent() {
    let domain = domain(DELEGATES);
    let stock: StockAgent = join(&domain);
    let workload = workload(&domain);
    let ours = proxy(&domain.path("agent/admin.sock"), &workload, UPDATES);
    let agents = domain.id("/spire/agent/join_token/");
    assert!(ours[0].1.starts_with(&agents), "{:?}", ours[0]);
    let (service, trust_domain) = (domain.id("/service"), domain.id(""));
    let expected = [
        ("x509-by-selectors", service.as_str()),
        ("x509-by-pid", &service),
        ("both", "InvalidArgument"),
        ("neither", "InvalidArgument"),
        ("nobody", ""),
        ("bundles", &trust_domain),
        ("jwt-bundles", &trust_domain),
        ("jwt-by-selectors", &service),
        ("jwt-by-pid", &service),
        ("jwt-nobody", "PermissionDenied"),
        ("jwt-no-audience", "InvalidArgument"),
        ("watch", &service),
        ("watch", &service),
        ("watch", &service),
    ];
    assert_eq!(outcomes(&ours), expected);
    let serials = ours.iter().filter(|(step, ..)| step == "watch");
    let mut serials: Vec<&str> = serials.map(|(.., serial)| serial.as_str()).collect();
    serials.dedup();
    assert_eq!(serials.len(), UPDATES, "each update is another certificate");
    let theirs = proxy(&stock.admin_socket(), &workload, UPDATES);
    assert_eq!(outcomes(&theirs), expected, "the stock agent differs");
    assert_eq!(ours[0].2, theirs[0].2, "the agents' subjects");
}

/// The IDs of each step that gave some, in an order of their own: each agent has its own.
fn ids(seen: &[Step], prefix: &str) -> Vec<BTreeSet<String>> {
    let steps = seen.iter().filter(|(step, ..)| step.starts_with(prefix));
    let given = steps.filter(|(_, ids, _)| ids.starts_with("spiffe://"));
    given
        .map(|(_, ids, _)| ids.split(' ').map(str::to_owned).collect())
        .collect()
}

/// How many X.509-SVIDs our agent holds.
fn svids_held(domain: &Domain) -> u64 {
    let mut command = bulla();
    command
        .args(["watch", "--once", "--json"])
        .env("BULLA_ADMIN_SOCKET", domain.admin_socket())
        .env("BULLA_AGENT_ADMIN_SOCKET", domain.path("agent/admin.sock"));
    let picture = Ran::of(&mut command).ok().json();
    picture["this_node"]["x509_svids"].as_u64().unwrap()
}

#[test]
fn identities_that_can_call_the_server_are_not_delegated() {
    let domain = domain(DELEGATES);
    let stock: StockAgent = join(&domain);
    let workload = workload(&domain);
    register_workload(&domain, "/boss", &["-admin"]);
    register_workload(&domain, "/nested", &["-downstream"]);
    // Made last: whoever is given it knows of the two before.
    register_workload(&domain, "/marker", &[]);
    // The node's name, the delegate, the service and these three.
    eventually("the agent holds all of them", || {
        (svids_held(&domain) == 6).then_some(())
    });
    let others: BTreeSet<String> = ["/service", "/marker"].map(|path| domain.id(path)).into();
    let ours = proxy(&domain.path("agent/admin.sock"), &workload, 1);
    for kind in ["x509-", "jwt-by-", "watch"] {
        let given = ids(&ours, kind);
        assert!(!given.is_empty(), "{kind}: {ours:?}");
        assert!(given.iter().all(|ids| *ids == others), "{kind}: {ours:?}");
    }
    let theirs = eventually_within(PATIENCE, "the stock agent knows of the last", || {
        let seen = proxy(&stock.admin_socket(), &workload, 1);
        let marked = |ids: &BTreeSet<String>| ids.contains(&domain.id("/marker"));
        ids(&seen, "x509-")
            .first()
            .is_some_and(marked)
            .then_some(seen)
    });
    for kind in ["x509-", "watch"] {
        assert_eq!(
            ids(&ours, kind),
            ids(&theirs, kind),
            "{kind}: the stock agent differs"
        );
    }
    // Here we are stricter: a stock agent gives tokens of all.
    let boss = domain.id("/boss");
    let of_boss = |ids: &BTreeSet<String>| ids.contains(&boss);
    assert!(ids(&theirs, "jwt-by-").iter().all(of_boss), "{theirs:?}");
}

#[test]
fn a_caller_that_is_no_delegate_by_configuration_is_refused_every_call() {
    let domain = domain("");
    let workload = workload(&domain);
    let seen = proxy(&domain.path("agent/admin.sock"), &workload, UPDATES);
    for (step, outcome) in outcomes(&seen) {
        assert_eq!(outcome, "PermissionDenied", "{step}");
    }
    let log = domain.agent.as_ref().unwrap().output();
    assert!(log.contains("refused a delegate"), "{log}");
}
