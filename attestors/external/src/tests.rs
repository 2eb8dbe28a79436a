//! What a plug-in's words are worth, with plug-ins made of plain values.

use std::path::Path;

use contract::battery::{StillProcess, workload};
use contract::{Attestor, ProcessError, inspect_all};
use proptest::prelude::*;

use super::*;

struct Says(Vec<String>);

impl Plugin for Says {
    fn attest(&self, pid: i32, may_wait: bool) -> Result<Vec<String>, InspectError> {
        assert_eq!(pid, 4711);
        if may_wait {
            Ok(self.0.clone())
        } else {
            Err(ProcessError::WouldBlock.into())
        }
    }
}

struct Away;

impl Plugin for Away {
    fn attest(&self, _: i32, _: bool) -> Result<Vec<String>, InspectError> {
        Err(InspectError::Unavailable("not running".to_owned()))
    }
}

fn says(values: &[&str]) -> External {
    let values = values.iter().map(|v| (*v).to_owned()).collect();
    External::new("rack", Arc::new(Says(values)))
}

#[test]
fn passes_the_battery() {
    workload(
        &says(&["row:7", "hall:b", "row:7"]),
        &StillProcess::default(),
        &[],
    );
}

#[test]
fn answers_become_selectors_of_the_plug_ins_own_name() {
    let process = StillProcess::default();
    let stated = says(&["row:7", "unix:uid:0"]).inspect(&process).unwrap();
    let stated: Vec<_> = stated.iter().map(|s| s.as_str()).collect();
    assert_eq!(stated, ["rack:row:7", "rack:unix:uid:0"]);
    assert_eq!(says(&[]).inspect(&process), Ok(Vec::new()));
}

#[test]
fn an_answer_without_measure_or_sense_fails_the_call() {
    let process = StillProcess::default();
    let many: Vec<String> = (0..=MAX_SELECTORS).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for values in [&[""][..], &["a\nb"], &["x".repeat(5000).as_str()], &many] {
        assert!(says(values).inspect(&process).is_err());
    }
}

#[test]
fn nobody_waits_where_nobody_may_and_a_plug_in_that_is_away_closes_what_needs_it() {
    let nobody_may_wait = StillProcess {
        may_wait: false,
        ..StillProcess::default()
    };
    let outcome = says(&["row:7"]).inspect(&nobody_may_wait);
    assert_eq!(outcome, Err(ProcessError::WouldBlock.into()));
    let attestors = |optional| {
        let away = External::new("rack", Arc::new(Away));
        let inspect: Arc<dyn Inspect> = Arc::new(away);
        [Attestor { inspect, optional }]
    };
    let process = StillProcess::default();
    let needed = inspect_all(&attestors(false), &process).unwrap();
    assert!(needed.selectors.is_empty() && needed.skipped.is_empty());
    assert_eq!(needed.unknown, ["rack"]);
    let optional = inspect_all(&attestors(true), &process).unwrap();
    assert!(optional.selectors.is_empty() && optional.unknown.is_empty());
    assert_eq!(optional.skipped, ["rack"]);
}

#[test]
fn a_first_line_says_where_the_plug_in_listens() {
    let folder = Path::new("/var/lib/bulla/agent/attestors/rack");
    let at = "/var/lib/bulla/agent/attestors/rack/plugin123";
    let parse = |line: &str| Handshake::parse(line, folder);
    let socket = Path::new(at).to_owned();
    for line in [
        format!("1|1|unix|{at}|grpc|\n"),
        format!("1|1|unix|{at}|grpc"),
        format!("1|1|unix|{at}|grpc||true"),
    ] {
        assert_eq!(
            parse(&line),
            Ok(Handshake {
                socket: socket.clone()
            }),
            "{line}"
        );
    }
    for line in [
        String::new(),
        "hello".to_owned(),
        format!("2|1|unix|{at}|grpc|"),
        format!("1|2|unix|{at}|grpc|"),
        "1|1|tcp|127.0.0.1:10000|grpc|".to_owned(),
        format!("1|1|unix|{at}|netrpc|"),
        format!("1|1|unix|{at}|grpc|MIIB"),
        "1|1|unix|/var/run/docker.sock|grpc|".to_owned(),
        format!("1|1|unix|{}|grpc|", folder.display()),
        format!("1|1|unix|{}/../other/sock|grpc|", folder.display()),
        format!("1|1|unix|{}/a/b|grpc|", folder.display()),
        "1|1|unix||grpc|".to_owned(),
    ] {
        assert!(parse(&line).is_err(), "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_panics_and_no_socket_is_outside_the_folder(line in ".{0,80}", name in "[./a-z]{1,20}") {
        let folder = Path::new("/f");
        let _ = Handshake::parse(&line, folder);
        if let Ok(handshake) = Handshake::parse(&format!("1|1|unix|/f/{name}|grpc|"), folder) {
            prop_assert_eq!(handshake.socket.parent(), Some(folder));
        }
    }
}
