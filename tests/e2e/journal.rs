//! The audit journal of the shipped server: without descriptors, and by its guide.

use std::fmt::Write as _;

use bulla_tests::{Domain, Ran, Settings, guide};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// Entries enough for more than a mebibyte of records in one group.
fn many_entries() -> String {
    let long = "long-name".repeat(20);
    let mut text = String::from("trust_domain: example.org\nentries:\n");
    for n in 0..5_000 {
        writeln!(
            text,
            "  - spiffe_id: spiffe://example.org/{long}/{n}\n    \
             parent_id: spiffe://example.org/node\n    selectors: [unix:uid:{}]",
            100_000 + n
        )
        .unwrap();
    }
    text
}

/// Sets how many descriptors a process may have open; returns what it was.
fn set_descriptor_limit(process: u32, most: Option<u64>) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    let limit = Rlimit {
        current: most,
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(Some(pid), Resource::Nofile, limit).unwrap().current
}

#[test]
fn s9_without_descriptors_records_are_made_all_the_same() {
    let domain = Domain::start_with(Settings {
        server: "[audit]\nsegment_mib = 1\n".into(),
        ..Settings::default()
    });
    domain.register("/service", []);
    let _ = domain.await_svid("/service");
    let file = domain.path("many.yaml");
    std::fs::write(&file, many_entries()).unwrap();
    // The segment in use is full after this; the next record goes to another one.
    let applied = domain.admin(["entry", "apply", "-f", file.to_str().unwrap()]);
    let _ = applied.ok();
    let server = domain.server.as_ref().unwrap().pid();
    // Fewer than are open: not one more can be had.
    let before = set_descriptor_limit(server, Some(3));
    let tokens: Vec<Ran> = ["a", "b", "c"]
        .map(|audience| domain.fetch(["jwt", "--audience", audience]))
        .into();
    set_descriptor_limit(server, before);
    for token in tokens {
        let _ = token.ok();
    }
    assert_eq!(domain.audit("issue_jwt").len(), 3);
    let verified = domain.admin(["audit", "verify", "--json"]).ok().json();
    assert_eq!(verified["intact"], true);
}

#[test]
fn the_journal_guide_works_as_written() {
    let domain = Domain::start_with(Settings {
        server: "[audit]\nsegment_mib = 1\n".into(),
        ..Settings::default()
    });
    let file = domain.path("many.yaml");
    std::fs::write(&file, many_entries()).unwrap();
    let applied = domain.admin(["entry", "apply", "-f", file.to_str().unwrap()]);
    let _ = applied.ok();
    domain.register("/one-more", []);
    let journal = domain.path("server/data/journal");
    let mut shell = domain.shell(&guide::commands(&guide::page("journal.md")));
    let ran = Ran::of(shell.env("JOURNAL", &journal)).ok();
    for seen in [
        "archived: 1 segments up to record ",
        "removed: 0",
        "intact: ",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
    let to = domain.path("guide/archive");
    let folders = [
        "--dir",
        journal.to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
    ];
    let archive = [&["audit", "archive"][..], &folders, &["--remove"]].concat();
    let removed = domain.admin(archive).ok();
    assert!(removed.out.contains("removed: 1"), "{}", removed.out);
    let intact = domain.admin(["audit", "verify", "--json"]).ok().json();
    assert_eq!(intact["intact"], true);
    let verify = [
        "audit",
        "verify",
        "--archive",
        to.to_str().unwrap(),
        "--dir",
        journal.to_str().unwrap(),
        "--json",
    ];
    let all = domain.admin(verify).ok().json();
    assert_eq!(all["records"], all["seq"], "the whole journal is verified");
    let listed = domain
        .admin(["audit", "list", "--last", "3", "--json"])
        .ok();
    assert_eq!(listed.json().as_array().unwrap().len(), 3);
}
