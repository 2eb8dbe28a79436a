//! `bulla watch` on a real trust domain: as lines, as a picture, on a terminal,
//! across a restart of the server.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bulla_tests::{Domain, Process, Ran, Settings, bulla, eventually, guide};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Every kind of event.
const KINDS: [&str; 13] = [
    "agent",
    "agent_gone",
    "connected",
    "disconnected",
    "issuance",
    "keys",
    "node",
    "record",
    "refusal",
    "registration",
    "renewal",
    "rotation",
    "this_node",
];

fn watch(domain: &Domain, args: &[&str]) -> Command {
    let mut command = bulla();
    command.arg("watch").args(args);
    command.env("BULLA_ADMIN_SOCKET", domain.admin_socket());
    command.env("BULLA_AGENT_ADMIN_SOCKET", domain.path("agent/admin.sock"));
    command
}

/// Standard output alone: logs are not lines.
fn start_lines(domain: &Domain) -> Process {
    Process::start(&mut watch(domain, &["--json"]), &domain.path("watch.log"))
}

fn lines(watching: &Process) -> Vec<Value> {
    let output = watching.output();
    let whole = output.lines().filter(|line| line.starts_with('{'));
    whole
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Waits for a line of `event` of which `wanted` holds.
fn await_line(watching: &Process, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("a line of {event}"), || {
        let lines = lines(watching);
        let mut of_kind = lines.into_iter().filter(|line| line["event"] == event);
        of_kind.find(&wanted)
    })
}

#[test]
fn every_kind_of_event_is_a_line_and_a_restart_leaves_none_out() {
    let mut domain = Domain::start_with(Settings::prompt());
    let mut watching = start_lines(&domain);
    let connected = await_line(&watching, "connected", |_| true);
    assert_eq!(connected["trust_domain"], domain.name());
    let following = await_line(&watching, "agent", |line| line["contact"] == "following");
    assert_eq!(following["behind"], false);

    let entry = domain.register("/service", ["--x509-ttl", "4"]);
    let registered = await_line(&watching, "registration", |line| line["entry_id"] == *entry);
    assert_eq!(registered["for"], *domain.id("/service"));
    await_line(&watching, "issuance", |line| line["kind"] == "issue_x509");
    await_line(&watching, "renewal", |line| line["entry_id"] == *entry);
    await_line(&watching, "this_node", |line| line["x509_svids"] == 1);

    assert_eq!(domain.admin(["keys", "revoke", "x509", "nobody"]).code, 4);
    let mut twice = vec!["entry", "create", "--spiffe-id", "spiffe://elsewhere.org/x"];
    let parent = domain.id("/node");
    twice.extend(["--parent-id", &parent, "--selector", "unix:uid:1"]);
    assert_ne!(domain.admin(twice).code, 0);
    let refused = await_line(&watching, "refusal", |line| line["kind"] == "entry_create");
    assert!(!refused["reason"].as_str().unwrap().is_empty());

    let _ = domain.admin(["keys", "prepare", "jwt"]).ok();
    await_line(&watching, "rotation", |line| line["kind"] == "key_rotation");
    await_line(&watching, "keys", |line| {
        let keys = line["keys"].as_array().unwrap();
        keys.iter().filter(|key| key["profile"] == "jwt").count() == 2
    });

    // Neither an entry nor a credential, a key or a node.
    let taken_back = ["revoke", "jti", "5f1c", "--reason", "a test", "--force"];
    let _ = domain.admin(taken_back).ok();
    await_line(&watching, "record", |line| line["kind"] == "revoke");

    loses_its_agent(&mut domain, &watching);
    loses_its_server(&mut domain, &watching);
    assert_every_line_is_as_promised(&lines(&watching));

    watching.signal(Signal::SIGTERM);
    let status = eventually("the watching ends", || watching.ended());
    assert!(status.success());
}

/// An agent goes away and is evicted.
fn loses_its_agent(domain: &mut Domain, watching: &Process) {
    domain.agent.take().unwrap().kill();
    let away = await_line(watching, "agent", |line| line["contact"] == "away");
    assert_eq!(away["was"], "following");
    await_line(watching, "this_node", |line| line["ready"] == false);
    let id = away["spiffe_id"].as_str().unwrap();
    let _ = domain.admin(["node", "evict", id]).ok();
    let evicted = await_line(watching, "node", |line| line["kind"] == "node_evict");
    assert_eq!(evicted["for"], id);
    await_line(watching, "agent_gone", |line| line["spiffe_id"] == id);
}

/// The server is killed and comes back.
fn loses_its_server(domain: &mut Domain, watching: &Process) {
    domain.server.take().unwrap().kill();
    let lost = await_line(watching, "disconnected", |_| true);
    assert!(lost["retry_ms"].as_u64().unwrap() > 0);
    domain.start_server();
    let entry = domain.register("/second", []);
    await_line(watching, "registration", |line| line["entry_id"] == *entry);
}

/// Every kind that docs/watch.md names was there; no record twice, none left out.
fn assert_every_line_is_as_promised(all: &[Value]) {
    let kinds: BTreeSet<&str> = all
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    assert_eq!(kinds, BTreeSet::from(KINDS));
    let promised = guide::page("watch.md");
    for kind in KINDS {
        assert!(promised.contains(&format!("`{kind}`")), "{kind}");
    }
    assert!(
        all.iter()
            .all(|line| line["schema"] == "bulla.watch/1" && line["at_ms"].is_i64())
    );
    let records = all.iter().filter(|line| line["kind"].is_string());
    let numbers: Vec<u64> = records.map(|line| line["seq"].as_u64().unwrap()).collect();
    let last = numbers[0] + u64::try_from(numbers.len()).unwrap();
    let gapless: Vec<u64> = (numbers[0]..last).collect();
    assert_eq!(numbers, gapless, "no gap, no repeat");
}

#[test]
fn one_picture_shows_the_trust_domain_and_needs_a_server() {
    let mut domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let ran = Ran::of(&mut watch(&domain, &["--once"])).ok();
    for seen in [
        "agents: 1 following",
        "KEYS",
        "join_token",
        "THIS NODE  ready",
        "issue_x509",
    ] {
        assert!(ran.out.contains(seen), "{seen}\n{}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'), "no escape codes: {}", ran.out);
    let picture = Ran::of(&mut watch(&domain, &["--once", "--json"]))
        .ok()
        .json();
    assert_eq!(picture["event"], "picture");
    assert_eq!(picture["agents"][0]["contact"], "following");
    assert!(picture["this_node"]["x509_svids"].as_u64().unwrap() >= 1);
    domain.server.take().unwrap().kill();
    assert_eq!(Ran::of(&mut watch(&domain, &["--once"])).code, 3);
}

/// Plays a script on a terminal of its own.
fn on_a_terminal(domain: &Domain, script: &Value) -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/watch/terminal.py"));
    command.arg(script.to_string());
    command.arg(bulla_tests::program("bulla")).arg("watch");
    command.env("BULLA_ADMIN_SOCKET", domain.admin_socket());
    command.env("BULLA_AGENT_ADMIN_SOCKET", domain.path("agent/admin.sock"));
    command
}

#[test]
fn the_live_picture_follows_resizes_outlives_the_server_and_gives_the_terminal_back() {
    let mut domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let (down, up) = (domain.path("down"), domain.path("up"));
    let script = json!([
        {"see": "\u{1b}[?1049h"},
        {"see": "1 following"},
        {"see": "EVENTS"},
        {"size": [12, 40]},
        {"see": "…"},
        {"size": [40, 160]},
        {"see": "spiffe://example.org/spire/agent/join_token/"},
        {"touch": down},
        {"see": "RECONNECTING"},
        {"touch": up},
        {"see": "1 following"},
        {"type": "q"},
    ]);
    let mut command = on_a_terminal(&domain, &script);
    let playing = std::thread::spawn(move || Ran::of(&mut command));
    eventually("the first acts", || down.exists().then_some(()));
    domain.server.take().unwrap().kill();
    eventually("it says so", || up.exists().then_some(()));
    domain.start_server();
    let ended = playing.join().unwrap().ok().json();
    assert_eq!(
        (&ended["status"], &ended["restored"]),
        (&json!(0), &json!(true))
    );
    let written = ended["written"].as_str().unwrap();
    assert!(
        written.contains("\u{1b}[?25h\u{1b}[?1049l"),
        "the cursor and the screen are back"
    );
}

#[test]
fn ctrl_c_ends_the_live_picture_and_gives_the_terminal_back() {
    let domain = Domain::server_alone(Settings::default());
    let script = json!([{"see": "agents: 0 following"}, {"type": "\u{3}"}]);
    let ended = Ran::of(&mut on_a_terminal(&domain, &script)).ok().json();
    assert_eq!(
        (&ended["status"], &ended["restored"]),
        (&json!(0), &json!(true))
    );
}
