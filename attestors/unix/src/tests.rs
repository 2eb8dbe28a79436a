//! The unix attestor against processes made of plain values.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use contract::battery::{Ask, StillProcess, workload};
use contract::{Attestor, ExecutablePath, inspect_all};
use proptest::prelude::*;

use super::*;

const ALL: Config = Config {
    path: true,
    sha256: true,
    sha256_max_bytes: 1_000_000,
};

fn stated(config: Config, process: &StillProcess) -> Vec<String> {
    let selectors = Unix::new(config).inspect(process).unwrap();
    selectors.iter().map(|s| s.as_str().to_owned()).collect()
}

#[test]
fn passes_the_battery_in_each_configuration() {
    let names = [Ask::Groups, Ask::UserName, Ask::GroupName];
    let process = StillProcess::default();
    let plain = Config {
        path: false,
        sha256: false,
        ..ALL
    };
    workload(&Unix::new(plain), &process, &names);
    let mut needs = names.to_vec();
    needs.push(Ask::Executable);
    workload(
        &Unix::new(Config {
            sha256: false,
            ..ALL
        }),
        &process,
        &needs,
    );
    needs.push(Ask::Sha256);
    workload(&Unix::new(ALL), &process, &needs);
}

#[test]
fn states_what_spire_states_and_in_the_same_words() {
    let expected = [
        "unix:uid:1000".to_owned(),
        "unix:user:ada".to_owned(),
        "unix:gid:1000".to_owned(),
        "unix:group:ada".to_owned(),
        "unix:supplementary_gid:4".to_owned(),
        "unix:supplementary_gid:27".to_owned(),
        "unix:supplementary_group:sudo".to_owned(),
        "unix:path:/usr/bin/payments".to_owned(),
        format!("unix:sha256:{}", "ab".repeat(32)),
    ];
    assert_eq!(stated(ALL, &StillProcess::default()), expected);
}

#[test]
fn a_path_that_is_no_fact_is_not_stated() {
    let unspeakable = PathBuf::from(OsStr::from_bytes(b"/usr/bin/pay\xff"));
    for path in [
        ExecutablePath::Deleted,
        ExecutablePath::Elsewhere,
        ExecutablePath::Verified(unspeakable),
    ] {
        let process = StillProcess {
            path,
            ..StillProcess::default()
        };
        let stated = stated(ALL, &process);
        assert!(!stated.iter().any(|s| s.contains(":path:")));
        assert!(stated.iter().any(|s| s.contains(":sha256:")));
    }
}

#[test]
fn a_program_over_the_limit_has_no_hash_and_the_rest_is_stated() {
    let process = StillProcess {
        size: ALL.sha256_max_bytes + 1,
        ..StillProcess::default()
    };
    let stated = stated(ALL, &process);
    assert!(!stated.iter().any(|s| s.contains(":sha256:")));
    assert!(stated.iter().any(|s| s == "unix:path:/usr/bin/payments"));
}

#[test]
fn a_path_with_a_control_character_fails_the_call() {
    let process = StillProcess {
        path: ExecutablePath::Verified(PathBuf::from("/tmp/a\nunix:uid:0")),
        ..StillProcess::default()
    };
    let outcome = Unix::new(ALL).inspect(&process);
    assert!(matches!(
        outcome,
        Err(InspectError::Selector { what: "path", .. })
    ));
}

#[test]
fn only_an_optional_attestor_may_fail_and_then_states_nothing_at_all() {
    let mut process = StillProcess::default();
    process.failing.insert(Ask::Executable);
    let attestor = |optional| Attestor {
        inspect: std::sync::Arc::new(Unix::new(ALL)),
        optional,
    };
    // Not that nobody answered: the process itself cannot be looked at.
    assert!(inspect_all(&[attestor(false)], &process).is_err());
    let optional = inspect_all(&[attestor(true)], &process).unwrap();
    assert!(optional.selectors.is_empty() && optional.unknown.is_empty());
    assert_eq!(optional.skipped, [KIND]);
}

proptest! {
    // A name or path never becomes a selector of another sort than its own.
    #[test]
    fn no_name_or_path_states_another_fact(user in ".{0,40}", path in "/.{0,60}") {
        let mut process = StillProcess { groups: Vec::new(), ..StillProcess::default() };
        process.users.insert(1000, user.clone());
        process.path = ExecutablePath::Verified(PathBuf::from(&path));
        if let Ok(stated) = Unix::new(ALL).inspect(&process) {
            for selector in stated {
                let (what, value) = selector.value().split_once(':').unwrap();
                let honest = match what {
                    "uid" | "gid" => value == "1000",
                    "user" => value == user,
                    "group" => value == "ada",
                    "path" => value == path,
                    "sha256" => value == "ab".repeat(32),
                    _ => false,
                };
                prop_assert!(honest, "{selector:?}");
            }
        }
    }
}
