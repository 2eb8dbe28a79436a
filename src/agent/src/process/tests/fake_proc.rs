//! Looks at folders made to look like `/proc`, for what this kernel never says.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use contract::{ProcessError, Strength};
use identity::Timestamp;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::clock::Clock;
use crate::process::anchor::{Peer, open_by_number};
use crate::process::snapshot::Snapshot;
use crate::process::{Options, ProcessHost};

const PID: u32 = 4711;

struct FakeProc {
    root: tempfile::TempDir,
    // Of this process, which lives; the number is what the folder says it is.
    pidfd: OwnedFd,
}

impl FakeProc {
    fn new() -> Self {
        let fake = Self {
            root: tempfile::tempdir().unwrap(),
            pidfd: pidfd_open(getpid(), PidfdFlags::empty()).unwrap(),
        };
        fake.write("sys/kernel/overflowuid", "65534\n");
        fake.write("sys/kernel/overflowgid", "65534\n");
        fake.says_pid(&PID.to_string());
        fake.says_status(&status("S (sleeping)", 1000));
        fake.write(
            &format!("{PID}/stat"),
            &format!("{PID} (x) S {}", "7 ".repeat(40)),
        );
        fs::copy("/bin/true", fake.root.path().join(format!("{PID}/exe"))).unwrap();
        fake
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn says_pid(&self, pid: &str) {
        let path = format!("self/fdinfo/{}", self.pidfd.as_raw_fd());
        self.write(&path, &format!("pos:\t0\nPid:\t{pid}\nNSpid:\t{pid}\n"));
    }

    fn says_status(&self, text: &str) {
        self.write(&format!("{PID}/status"), text);
    }

    fn look(&self, uid: u32, pid: u32) -> Result<(), ProcessError> {
        let options = Options {
            proc_root: self.root.path().to_owned(),
            ..Options::default()
        };
        let host: Arc<ProcessHost> =
            ProcessHost::for_tests(options, Clock::manual(Timestamp(0))).unwrap();
        let peer = Peer {
            uid,
            gid: uid,
            pid,
            pidfd: self.pidfd.as_fd(),
            strength: Strength::Weak,
        };
        peer.is_numbered_by(&host.proc)?;
        Snapshot::take(&host, peer, true).map(drop)
    }
}

fn status(state: &str, uid: u32) -> String {
    format!(
        "Name:\tx\nState:\t{state}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{uid}\t{uid}\t{uid}\t{uid}\nGroups:\t1 2 \n"
    )
}

#[test]
fn an_honest_folder_is_accepted() {
    assert_eq!(FakeProc::new().look(1000, PID), Ok(()));
}

#[test]
fn the_number_of_another_namespace_is_refused() {
    let fake = FakeProc::new();
    fake.says_pid("4712");
    assert!(matches!(
        fake.look(1000, PID),
        Err(ProcessError::Refused(_))
    ));
    fake.says_pid("0");
    assert!(matches!(
        fake.look(1000, PID),
        Err(ProcessError::Refused(_))
    ));
    assert!(matches!(open_by_number(0), Err(ProcessError::Refused(_))));
    assert!(matches!(open_by_number(-1), Err(ProcessError::Refused(_))));
}

#[test]
fn a_reaped_process_is_gone_whatever_the_folder_holds() {
    let fake = FakeProc::new();
    fake.says_pid("-1");
    assert_eq!(fake.look(1000, PID), Err(ProcessError::Gone));
}

#[test]
fn a_user_without_a_number_here_is_refused() {
    let fake = FakeProc::new();
    fake.says_status(&status("S (sleeping)", 65_534));
    assert!(matches!(
        fake.look(65_534, PID),
        Err(ProcessError::Refused(_))
    ));
}

#[test]
fn u5_a_service_of_nobody_is_attested_where_that_is_a_user() {
    let fake = FakeProc::new();
    fake.says_status(&status("S (sleeping)", 65_534));
    for map in ["self/uid_map", "self/gid_map"] {
        fake.write(map, "         0          0 4294967295\n");
    }
    assert_eq!(fake.look(65_534, PID), Ok(()));
    // Where only some numbers are mapped, it may be anybody, except in the namespace
    // of the agent itself.
    for map in ["self/uid_map", "self/gid_map"] {
        fake.write(map, "         0     100000      65536\n");
    }
    let refused = fake.look(65_534, PID);
    assert!(matches!(refused, Err(ProcessError::Refused(_))));
    fake.write("self/ns/user", "");
    fake.write(&format!("{PID}/ns/user"), "");
    let refused = fake.look(65_534, PID);
    assert!(matches!(refused, Err(ProcessError::Refused(_))));
    let (own, its) = ("self/ns/user", format!("{PID}/ns/user"));
    let path = |name: &str| fake.root.path().join(name);
    fs::remove_file(path(&its)).unwrap();
    fs::hard_link(path(own), path(&its)).unwrap();
    assert_eq!(fake.look(65_534, PID), Ok(()));
}

#[test]
fn dead_states_are_gone() {
    let fake = FakeProc::new();
    for state in ["Z (zombie)", "X (dead)"] {
        fake.says_status(&status(state, 1000));
        assert_eq!(fake.look(1000, PID), Err(ProcessError::Gone), "{state}");
    }
}

#[test]
fn every_one_of_the_four_ids_must_be_the_sockets() {
    let fake = FakeProc::new();
    let honest = status("S (sleeping)", 1000);
    for line in ["Uid", "Gid"] {
        for at in 0..4 {
            let mut ids = ["1000"; 4];
            ids[at] = "0";
            let forged = format!("{line}:\t{}\n", ids.join("\t"));
            let plain = format!("{line}:\t1000\t1000\t1000\t1000\n");
            fake.says_status(&honest.replace(&plain, &forged));
            let outcome = fake.look(1000, PID);
            assert!(
                matches!(outcome, Err(ProcessError::Changed(_))),
                "{forged}: {outcome:?}"
            );
        }
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_left_out() {
    for name in ["status", "stat", "exe"] {
        let fake = FakeProc::new();
        fs::remove_file(fake.root.path().join(format!("{PID}/{name}"))).unwrap();
        let outcome = fake.look(1000, PID);
        assert!(
            matches!(outcome, Err(ProcessError::Unreadable { .. })),
            "{name}: {outcome:?}"
        );
    }
    let endless = FakeProc::new();
    endless.says_status(&format!("Name:\tx\n{}", "x".repeat(1 << 20)));
    let outcome = endless.look(1000, PID);
    assert!(
        matches!(outcome, Err(ProcessError::Unreadable { .. })),
        "{outcome:?}"
    );
}

#[test]
fn only_a_proc_file_system_is_taken_for_one() {
    let options = Options {
        proc_root: FakeProc::new().root.path().to_owned(),
        ..Options::default()
    };
    assert!(ProcessHost::new(options).is_err());
    assert!(ProcessHost::new(Options::default()).is_ok());
}
