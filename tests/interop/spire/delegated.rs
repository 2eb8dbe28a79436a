//! A node proxy on SPIRE's API is given other workloads' identities by our agent as
//! by a stock one, and by neither unless it is configured.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use bulla_tests::{Domain, Process, Ran, Settings};
use serde_json::Value;

use super::stock::{StockAgent, cli, join};

/// A user that nobody else in the tests is.
const WORKLOAD_UID: u32 = 4_242;
const SELECTOR: &str = "unix:uid:4242";
const DELEGATES: &str =
    "[delegated_identity]\nauthorized_delegates = [\"spiffe://example.org/delegate\"]\n";
const UPDATES: usize = 3;

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
    let mut command = Command::new("sleep");
    command.arg("600").uid(WORKLOAD_UID).gid(WORKLOAD_UID);
    Process::start(&mut command, &domain.path("workload.log"))
}

/// What the proxy saw at an agent, step by step.
fn proxy(socket: &Path, workload: &Process) -> Vec<(String, String, String)> {
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.peers/delegate");
    assert!(peer.exists(), "the proxy is missing: run `tests/run peers`");
    let mut command = Command::new(peer);
    command.arg(socket).arg(workload.pid().to_string());
    command.args([SELECTOR, "payments", &UPDATES.to_string()]);
    let ran = Ran::of(&mut command).ok();
    let lines = ran.out.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a JSON line");
        ["step", "id", "detail"].map(|part| line[part].as_str().unwrap().to_owned())
    });
    lines.map(|[step, id, detail]| (step, id, detail)).collect()
}

fn outcomes(seen: &[(String, String, String)]) -> Vec<(&str, &str)> {
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
    let ours = proxy(&domain.path("agent/admin.sock"), &workload);
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
    let theirs = proxy(&stock.admin_socket(), &workload);
    assert_eq!(outcomes(&theirs), expected, "the stock agent differs");
    assert_eq!(ours[0].2, theirs[0].2, "the agents' subjects");

    // Identities that can call the server are for nobody else.
    register_workload(&domain, "/boss", &["-admin"]);
    let again = proxy(&domain.path("agent/admin.sock"), &workload);
    assert_eq!(outcomes(&again), expected);
}

#[test]
fn a_caller_that_is_no_delegate_by_configuration_is_refused_every_call() {
    let domain = domain("");
    let workload = workload(&domain);
    let seen = proxy(&domain.path("agent/admin.sock"), &workload);
    for (step, outcome) in outcomes(&seen) {
        assert_eq!(outcome, "PermissionDenied", "{step}");
    }
    let log = domain.agent.as_ref().unwrap().output();
    assert!(log.contains("refused a delegate"), "{log}");
}
