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

#[test]
fn u4_a_second_dev_does_not_take_the_folder_of_one_that_runs() {
    let folder = tempfile::Builder::new()
        .prefix("bd-")
        .tempdir_in("/tmp")
        .unwrap();
    let at = folder.path().join("td");
    let mut command = bulla();
    command.args(["dev", "--dir"]).arg(&at);
    let log = folder.path().join("first.log");
    let mut first = bulla_tests::Process::start(&mut command, &log);
    let socket = at.join("agent/workload.sock");
    bulla_tests::eventually("the first one is up", || {
        assert!(first.ended().is_none(), "{}", first.output());
        std::os::unix::net::UnixStream::connect(&socket).ok()
    });
    let mut command = bulla();
    command.args(["dev", "--once", "--dir"]).arg(&at);
    let ran = Ran::of(&mut command);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err.contains("another `bulla dev` runs in"),
        "{}",
        ran.err
    );
    std::os::unix::net::UnixStream::connect(&socket).expect("the first one goes on");
    let ended = first.stop_within(std::time::Duration::from_secs(20));
    assert!(ended.success(), "{ended}");
}
