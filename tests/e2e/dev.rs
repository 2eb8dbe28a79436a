//! `bulla dev`: the main job, as a new user runs it.

use bulla_tests::{Ran, bulla};
use serde_json::Value;

#[test]
fn the_tour_holds_from_nothing_to_the_audit_trail() {
    let folder = tempfile::Builder::new()
        .prefix("bd-")
        .tempdir_in("/tmp")
        .unwrap();
    let mut command = bulla();
    command
        .args(["dev", "--once", "--json", "--dir"])
        .arg(folder.path().join("td"));
    let ran = Ran::of(&mut command).ok();
    let steps: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    let titles: Vec<&str> = steps
        .iter()
        .map(|step| step["title"].as_str().unwrap())
        .collect();
    for promise in [
        "server is up",
        "has joined",
        "X.509-SVID",
        "backend serves",
        "both proved",
        "intruder",
        "accepted by its audience",
        "a permission catalogue and a policy are active",
        "asked for two permissions and was granted one",
        "a call it allows was served",
        "why, from the record",
        "renewal was pushed",
        "audit trail",
    ] {
        assert!(
            titles.iter().any(|title| title.contains(promise)),
            "{promise}: {titles:#?}"
        );
    }
}

#[test]
fn a_folder_that_is_not_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bulla();
    command.args(["dev", "--once", "--dir"]).arg(folder.path());
    let ran = Ran::of(&mut command);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("was not made by `bulla dev`"),
        "{}",
        ran.err
    );
}

/// A tour whose agent cannot come up ends with the reason, not with success.
#[test]
fn a_step_that_does_not_hold_fails_the_tour() {
    let folder = tempfile::Builder::new()
        .prefix("bd-")
        .tempdir_in("/tmp")
        .unwrap();
    let mut command = bulla();
    command
        .args(["dev", "--once", "--dir"])
        .arg(folder.path().join("td"));
    // Too few descriptors for a server with a store.
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 12; exec \"$@\"", "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    let ran = Ran::of(&mut limited);
    assert_ne!(ran.code, 0, "{}", ran.out);
    assert!(ran.err.contains("error: "), "{}", ran.err);
}
