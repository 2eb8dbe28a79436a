//! The systemd attestor against texts of real systems and made-up ones.

use contract::battery::{Ask, StillProcess, workload};
use contract::{ControlGroup, Inspect, InspectError};
use proptest::prelude::*;

use crate::{Systemd, unit_of};

/// `/proc/<pid>/cgroup` as plain text.
fn groups(text: &str) -> Vec<ControlGroup> {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    lines
        .map(|line| {
            let mut parts = line.splitn(3, ':');
            ControlGroup {
                hierarchy: parts.next().unwrap().parse().unwrap(),
                controllers: parts.next().unwrap().to_owned(),
                path: parts.next().unwrap().to_owned(),
            }
        })
        .collect()
}

fn process(text: &str) -> StillProcess {
    StillProcess {
        control_groups: groups(text),
        ..StillProcess::default()
    }
}

fn stated(text: &str) -> Vec<String> {
    let stated = Systemd.inspect(&process(text)).unwrap();
    stated.iter().map(|s| s.as_str().to_owned()).collect()
}

fn unit(id: &str, slice: &str) -> Vec<String> {
    vec![format!("systemd:id:{id}"), format!("systemd:slice:{slice}")]
}

#[test]
fn passes_the_battery() {
    let process = process("0::/system.slice/payments.service");
    workload(&Systemd, &process, &[Ask::ControlGroups]);
}

// In the forms in which Debian 12 and Ubuntu 22.04 (unified), RHEL 8 (v1) and
// Debian 10 (hybrid) write them.
#[test]
fn units_are_known_in_all_layouts() {
    let v1 = "12:pids:/system.slice/sshd.service
              4:memory:/system.slice/sshd.service
              3:cpu,cpuacct:/
              2:freezer:/
              1:name=systemd:/system.slice/sshd.service";
    let hybrid = "10:memory:/user.slice/user-1000.slice/session-2.scope
                  1:name=systemd:/user.slice/user-1000.slice/session-2.scope
                  0::/user.slice/user-1000.slice/session-2.scope";
    for (text, id, slice) in [
        (
            "0::/system.slice/cron.service",
            "cron.service",
            "system.slice",
        ),
        ("0::/init.scope", "init.scope", "-.slice"),
        (
            "0::/system.slice/system-getty.slice/getty@tty1.service",
            "getty@tty1.service",
            "system-getty.slice",
        ),
        (
            r"0::/system.slice/system-serial\x2dgetty.slice/serial-getty@ttyS0.service",
            "serial-getty@ttyS0.service",
            r"system-serial\x2dgetty.slice",
        ),
        (v1, "sshd.service", "system.slice"),
        (hybrid, "session-2.scope", "user-1000.slice"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-shop.service",
            "user@1000.service",
            "user-1000.slice",
        ),
        (
            "0::/system.slice/docker-8f3a.scope",
            "docker-8f3a.scope",
            "system.slice",
        ),
    ] {
        assert_eq!(stated(text), unit(id, slice), "{text}");
    }
}

#[test]
fn a_name_made_inside_a_unit_is_not_the_unit() {
    for path in [
        "/system.slice/attacker.service/payments.service",
        "/system.slice/attacker.service/system.slice/payments.service",
        "/system.slice/attacker.service/../payments.service",
    ] {
        assert_eq!(
            stated(&format!("0::{path}")),
            unit("attacker.service", "system.slice")
        );
    }
}

#[test]
fn other_hierarchies_do_not_count() {
    let text = "4:memory:/system.slice/payments.service
                1:name=systemd:/system.slice/attacker.service
                2:name=other:/system.slice/payments.service";
    assert_eq!(stated(text), unit("attacker.service", "system.slice"));
    assert!(stated("4:memory:/system.slice/payments.service\n0::/").is_empty());
}

#[test]
fn hierarchies_that_contradict_each_other_fail_the_call() {
    let text = "1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service";
    let outcome = Systemd.inspect(&process(text));
    assert!(matches!(outcome, Err(InspectError::Unavailable(_))));
}

#[test]
fn what_is_no_unit_has_no_selectors() {
    for path in [
        "/",
        "/docker/8f3a",
        "/kubepods/burstable/pod1/8f3a",
        "/../system.slice/payments.service",
        "/system.slice",
        "/system.slice/",
        "/system.slice/payments",
        "/system.slice/.service",
        "/system.slice/@.service",
        "/system.slice/pay ments.service",
        "/system.slice/payments.service (deleted)",
        "/system.slice/payments.timer",
        // A slice that is not where its name says was not made by systemd.
        "/user-1000.slice/payments.service",
        "/system.slice/user.slice/payments.service",
        "/a--b.slice/payments.service",
        "/-.slice/payments.service",
    ] {
        assert!(stated(&format!("0::{path}")).is_empty(), "{path}");
    }
}

proptest! {
    // Whatever stands behind the unit cannot change what is stated.
    #[test]
    fn nothing_below_a_unit_counts(below in "(/[a-z.@\\\\:_ -]{0,12}){0,5}") {
        let path = format!("0::/system.slice/own.service{below}");
        let path = if below.is_empty() || below.starts_with('/') { path } else { unreachable!() };
        prop_assert_eq!(stated(&path), unit("own.service", "system.slice"));
    }

    // Any path at all: no panic, and what is stated is the first component that is no slice.
    #[test]
    fn a_stated_unit_is_the_first_that_is_no_slice(path in "(/[a-z.@-]{0,9}(\\.slice|\\.service|\\.scope)?){0,5}") {
        let group = ControlGroup { hierarchy: 0, controllers: String::new(), path: path.clone() };
        if let Ok(Some(found)) = unit_of(&[group]) {
            let first = path.split('/').skip(1).find(|c| !c.ends_with(".slice"));
            prop_assert_eq!(first.map(|f| f.strip_prefix('_').unwrap_or(f)), Some(found.id.as_str()));
        }
    }
}
