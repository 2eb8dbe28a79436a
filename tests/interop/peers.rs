//! go-spiffe, PyPI `spiffe` and java-spiffe: each walks through the same steps
//! and must see the same things.

use std::path::Path;
use std::process::Command;

use bulla_tests::{Domain, Ran, peer};
use serde_json::Value;

const AUDIENCE: &str = "payments";

/// Runs a peer and checks the steps it must print.
#[track_caller]
fn walk(mut command: Command) {
    let domain = Domain::start();
    // Six seconds: the peer sees a renewal within three.
    domain.register("/service", ["--x509-ttl", "6"]);
    domain.await_svid("/service");
    command.args([domain.endpoint().as_str(), AUDIENCE, "2"]);
    let ran = Ran::of(&mut command).ok();
    let lines: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    let steps: Vec<&str> = lines
        .iter()
        .map(|line| line["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        [
            "x509",
            "bundles",
            "jwt",
            "validate",
            "validate-other",
            "watch",
            "watch"
        ],
        "{}",
        ran.err
    );
    let id = domain.id("/service");
    for line in lines
        .iter()
        .filter(|line| !["bundles", "validate-other"].contains(&line["step"].as_str().unwrap()))
    {
        assert_eq!(line["id"], *id, "{line}");
    }
    assert_ne!(
        lines[5]["detail"], lines[6]["detail"],
        "a renewal has another serial"
    );
}

#[test]
fn go_spiffe_fetches_watches_and_validates() {
    walk(Command::new(peer("go-peer")));
}

#[test]
fn py_spiffe_fetches_watches_and_validates() {
    let mut command = Command::new(peer("python/bin/python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/python/peer.py"));
    walk(command);
}

#[test]
fn java_spiffe_fetches_watches_and_validates() {
    let classes = peer("java/classes");
    let mut command = Command::new("java");
    command.arg("-cp").arg(format!(
        "{}:{}/*",
        classes.display(),
        peer("java/lib").display()
    ));
    command.arg("Peer");
    walk(command);
}
