//! Hostile names and random bytes against the parsers.

use proptest::prelude::*;

use super::*;

/// What a process can call itself with `prctl(PR_SET_NAME)`, or a bit more.
const HOSTILE_NAMES: [&str; 10] = [
    "a) S 1 (b",
    ") R 1 2 3 4 5 6 7",
    "((((((((((((((",
    "))))))))))))))",
    "a\nUid:\t0\t0\t0",
    "\nUid:\t0 0 0 0",
    "Uid:\t0\t0\t0\t0",
    "\u{fffd}\u{202e}x",
    "",
    " ) ) ) 0 0 0",
];

fn stat_of(name: &str) -> Vec<u8> {
    let fields: Vec<String> = (4..=52).map(|n| (n * 1000).to_string()).collect();
    format!("4711 ({name}) S {}\n", fields.join(" ")).into_bytes()
}

// The kernel escapes new lines and backslashes of the name in `status`.
fn status_of(name: &str) -> Vec<u8> {
    let name = name.replace('\\', "\\\\").replace('\n', "\\n");
    format!(
        "Name:\t{name}\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nUid:\t1000\t1000\t1000\t1000\n\
         Gid:\t100\t100\t100\t100\nFDSize:\t64\nGroups:\t27 4 100 \nVmPeak:\t 10 kB\n"
    )
    .into_bytes()
}

#[test]
fn a_hostile_name_moves_no_field() {
    for name in HOSTILE_NAMES {
        assert_eq!(start_time(&stat_of(name)), Ok(22_000), "{name:?}");
        let status = status(&status_of(name)).unwrap();
        assert_eq!(status.uids, [1000; 4], "{name:?}");
        assert_eq!(status.gids, [100; 4], "{name:?}");
        assert_eq!(status.groups, [4, 27, 100], "{name:?}");
        assert_eq!(status.state, b'S', "{name:?}");
    }
}

#[test]
fn a_naive_reading_of_stat_is_fooled_by_the_same_names() {
    let naive = |text: &[u8]| -> Option<u64> { words(text).nth(21).and_then(number) };
    let fooled = HOSTILE_NAMES
        .iter()
        .filter(|name| naive(&stat_of(name)) != Some(22_000))
        .count();
    assert!(fooled >= 4, "the corpus has lost its teeth: {fooled}");
}

#[test]
fn a_field_that_comes_twice_or_not_at_all_is_refused() {
    let mut twice = status_of("x");
    twice.extend_from_slice(b"Uid:\t0\t0\t0\t0\n");
    assert_eq!(status(&twice), Err(Unexpected("a line comes twice")));
    assert!(status(b"Name:\tx\nState:\tS\n").is_err());
    assert!(status(b"").is_err());
    for bad in [
        "Uid:\t1\t1\t1\n",
        "Uid:\t1\t1\t1\t1\t1\n",
        "Uid:\t+1\t1\t1\t1\n",
        "Uid:\t-1 1 1 1\n",
    ] {
        let text = format!("Name:\tx\nState:\tS\n{bad}Gid:\t1\t1\t1\t1\nGroups:\t\n");
        assert!(status(text.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn more_groups_than_fit_are_refused() {
    let many = "1 ".repeat(MAX_GROUPS + 1);
    let text = format!("Name:\tx\nState:\tS\nUid:\t1 1 1 1\nGid:\t1 1 1 1\nGroups:\t{many}\n");
    assert!(status(text.as_bytes()).is_err());
}

#[test]
fn the_pid_of_a_pidfd_is_read_as_the_kernel_writes_it() {
    let fdinfo = b"pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1\nPid:\t42\nNSpid:\t42\t1\n";
    assert_eq!(pidfd_pid(fdinfo), Ok(42));
    assert_eq!(pidfd_pid(b"Pid:\t-1\nNSpid:\t-1\n"), Ok(-1));
    assert!(pidfd_pid(b"pos:\t0\n").is_err());
    assert!(pidfd_pid(b"Pid:\t1\nPid:\t2\n").is_err());
}

#[test]
fn control_groups_of_both_versions_are_read() {
    let text = b"3:cpu,cpuacct:/a:b\n1:name=systemd:/x\n0::/system.slice/a.service\n";
    let groups = control_groups(text).unwrap();
    assert_eq!(groups.len(), 3);
    assert_eq!(groups[0].path, "/a:b");
    assert_eq!(groups[0].controllers, "cpu,cpuacct");
    assert_eq!(
        (groups[2].hierarchy, groups[2].controllers.as_str()),
        (0, "")
    );
    for bad in [&b"0:/x"[..], b"x::/a", b"0::a", b"\xff"] {
        assert!(control_groups(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_kernels_own_texts_are_understood() {
    let read = |name: &str| std::fs::read(format!("/proc/self/{name}")).unwrap();
    let status = status(&read("status")).unwrap();
    assert_eq!(status.uids[1], rustix::process::geteuid().as_raw());
    assert!(start_time(&read("stat")).unwrap() > 0);
    assert!(!control_groups(&read("cgroup")).unwrap().is_empty());
}

proptest! {
    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = status(&text);
        let _ = start_time(&text);
        let _ = pidfd_pid(&text);
        let _ = control_groups(&text);
    }

    #[test]
    fn no_name_moves_a_field(name in "[\\x00-\\x7f]{0,15}") {
        prop_assert_eq!(start_time(&stat_of(&name)), Ok(22_000));
        prop_assert_eq!(status(&status_of(&name)).unwrap().uids, [1000; 4]);
    }

    #[test]
    fn status_lines_are_read_whatever_is_around_them(
        uids in any::<[u32; 4]>(), gids in any::<[u32; 4]>(),
        groups in prop::collection::vec(any::<u32>(), 0..50),
    ) {
        let join = |n: &[u32]| n.iter().map(u32::to_string).collect::<Vec<_>>().join("\t");
        let text = format!(
            "Name:\tx\nState:\tR (running)\nUid:\t{}\nGid:\t{}\nGroups:\t{} \n",
            join(&uids), join(&gids), join(&groups)
        );
        let read = status(text.as_bytes()).unwrap();
        let mut groups = groups;
        groups.sort_unstable();
        groups.dedup();
        prop_assert_eq!(read, Status { state: b'R', uids, gids, groups });
    }
}
