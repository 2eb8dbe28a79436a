//! Looks at processes of this machine.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use channel::uds::UnixPeer;
use contract::{Attestor, ExecutablePath, Process, ProcessError, Strength};
use identity::Timestamp;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use unix::{Config, Unix};

use crate::clock::Clock;
use crate::process::anchor::Peer;
use crate::process::snapshot::Snapshot;
use crate::process::watched::Watched;
use crate::process::{AttestError, Options, ProcessHost};

/// A child that is killed when the test ends.
struct Running {
    child: Child,
    pidfd: OwnedFd,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let running = Self { child, pidfd };
        running.until(|name| !name.contains("deps"));
        running
    }

    fn sleep() -> Self {
        Self::start(Command::new("sleep").arg("1000"))
    }

    fn link(&self) -> String {
        let link = fs::read_link(format!("/proc/{}/exe", self.child.id())).unwrap_or_default();
        link.to_string_lossy().into_owned()
    }

    // Waits until the process runs a program whose path answers to `wanted`.
    fn until(&self, wanted: impl Fn(&str) -> bool) {
        while !wanted(&self.link()) {
            std::thread::yield_now();
        }
    }

    fn peer(&self, strength: Strength) -> Peer<'_> {
        Peer {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            pid: self.child.id(),
            pidfd: self.pidfd.as_fd(),
            strength,
        }
    }

    fn look<'a>(&'a self, host: &'a Arc<ProcessHost>) -> Result<Snapshot<'a>, ProcessError> {
        Snapshot::take(host, self.peer(Strength::Strong), true)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn host() -> Arc<ProcessHost> {
    ProcessHost::new(Options::default()).unwrap()
}

fn copy_of_sleep(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("worker");
    fs::copy("/bin/sleep", &path).unwrap();
    path
}

fn sha256(path: &Path) -> [u8; 32] {
    let hash = ring::digest::digest(&ring::digest::SHA256, &fs::read(path).unwrap());
    hash.as_ref().try_into().unwrap()
}

#[test]
fn a_process_is_found_with_its_ids_groups_and_program() {
    let (host, running) = (host(), Running::sleep());
    let look = running.look(&host).unwrap();
    let path = fs::canonicalize("/bin/sleep").unwrap();
    assert_eq!(
        look.executable().unwrap().path,
        ExecutablePath::Verified(path.clone())
    );
    assert_eq!(look.executable_sha256(1 << 30), Ok(sha256(&path)));
    assert!(!look.control_groups().unwrap().is_empty());
    assert_eq!(look.confirm(), Ok(()));
}

#[test]
fn a_zombie_and_a_reaped_process_are_gone() {
    let host = host();
    let mut running = Running::start(Command::new("sh").args(["-c", "read x"]));
    let look = running.look(&host).unwrap();
    rustix::process::kill_process(
        Pid::from_raw(i32::try_from(look.pid()).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::PidFd(running.pidfd.as_fd()), ended).unwrap();
    assert_eq!(
        look.confirm(),
        Err(ProcessError::Gone),
        "a zombie, at the second look"
    );
    assert_eq!(
        running.look(&host).unwrap_err(),
        ProcessError::Gone,
        "a zombie"
    );
    drop(look);
    running.child.wait().unwrap();
    assert_eq!(
        running.look(&host).unwrap_err(),
        ProcessError::Gone,
        "reaped"
    );
}

#[test]
fn another_user_than_the_sockets_is_refused() {
    let (host, running) = (host(), Running::sleep());
    let mut peer = running.peer(Strength::Strong);
    peer.uid = 4711;
    let outcome = Snapshot::take(&host, peer, true);
    assert!(
        matches!(outcome, Err(ProcessError::Changed(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_program_executed_between_the_looks_voids_what_was_learned() {
    let host = host();
    let mut running = Running::start(Command::new("sh").args(["-c", "read x; exec sleep 1000"]));
    let stdin = running.child.stdin.take();
    let before = running.link();
    let look = running.look(&host).unwrap();
    assert_eq!(look.confirm(), Ok(()));
    drop(stdin);
    while running.link() == before {
        std::thread::yield_now();
    }
    assert!(matches!(look.confirm(), Err(ProcessError::Changed(_))));
    let hash = look.executable_sha256(1 << 30);
    assert!(matches!(hash, Err(ProcessError::Changed(_))), "{hash:?}");
}

#[test]
fn a_file_that_was_renamed_is_found_and_one_that_was_replaced_is_not() {
    let (host, folder) = (host(), tempfile::tempdir().unwrap());
    let path = copy_of_sleep(folder.path());
    let hash = sha256(&path);
    let running = Running::start(Command::new(&path).arg("1000"));
    let look = running.look(&host).unwrap();
    assert_eq!(
        look.executable().unwrap().path,
        ExecutablePath::Verified(path.clone())
    );

    let moved = folder.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    assert_eq!(
        look.executable().unwrap().path,
        ExecutablePath::Verified(moved.clone())
    );

    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::rename(&path, &moved).unwrap();
    // The upgrade did not change what runs: still attested, but without a path.
    assert_eq!(look.confirm(), Ok(()));
    let later = running.look(&host).unwrap();
    assert_eq!(later.executable().unwrap().path, ExecutablePath::Deleted);
    assert_eq!(later.executable_sha256(1 << 30), Ok(hash));
}

#[test]
fn a_hash_is_remembered_only_once_the_file_has_settled() {
    let folder = tempfile::tempdir().unwrap();
    let path = copy_of_sleep(folder.path());
    let written = fs::metadata(&path).unwrap();
    let written = std::os::unix::fs::MetadataExt::ctime(&written);
    let running = Running::start(Command::new(&path).arg("1000"));
    for (age, remembered) in [(1, false), (2, true)] {
        let clock = Clock::manual(Timestamp(written + age));
        let host = ProcessHost::for_tests(Options::default(), clock).unwrap();
        let look = running.look(&host).unwrap();
        look.executable_sha256(1 << 30).unwrap();
        let quick = Snapshot::take(&host, running.peer(Strength::Strong), false).unwrap();
        let again = quick.executable_sha256(1 << 30);
        assert_eq!(
            again.is_ok(),
            remembered,
            "{age} s after the last change: {again:?}"
        );
    }
}

#[test]
fn a_program_over_the_limit_is_not_read() {
    let (host, running) = (host(), Running::sleep());
    let look = running.look(&host).unwrap();
    let size = look.executable().unwrap().size;
    let limit = size - 1;
    assert_eq!(
        look.executable_sha256(limit),
        Err(ProcessError::TooLarge { size, limit })
    );
}

#[test]
fn a_weak_look_knows_the_process_by_its_start() {
    let (host, running) = (host(), Running::sleep());
    let look = Snapshot::take(&host, running.peer(Strength::Weak), true).unwrap();
    assert!(look.started().is_some());
    assert_eq!(look.strength(), Strength::Weak);
    assert_eq!(look.confirm(), Ok(()));
}

#[tokio::test]
async fn one_call_is_attested_from_end_to_end() {
    let (here, _there) = UnixStream::pair().unwrap();
    let peer = Arc::new(UnixPeer::of(&here).unwrap());
    let host = host();
    let caller = host.caller(&peer);
    let config = Config {
        sha256: true,
        ..Config::default()
    };
    let attestor = Attestor {
        inspect: Arc::new(Unix::new(config)),
        optional: false,
    };
    let attestors: Arc<[Attestor]> = Arc::new([attestor]);
    let attested = caller.attest(&attestors).await.unwrap();
    let path = std::env::current_exe().unwrap();
    let expected = [
        format!("unix:uid:{}", rustix::process::geteuid().as_raw()),
        format!("unix:path:{}", path.display()),
        format!("unix:sha256:{}", hex::encode(sha256(&path))),
    ];
    for selector in expected {
        let selector = identity::Selector::parse(&selector).unwrap();
        assert!(attested.selectors.contains(&selector), "{selector}");
    }
    let liveness = caller.watch().unwrap();
    assert_eq!(liveness.recheck(), Ok(()));
    let second = caller.watch().unwrap();
    let ended = tokio::time::timeout(std::time::Duration::ZERO, second.ended()).await;
    assert!(ended.is_err(), "this process has not ended");
}

#[tokio::test]
async fn a_kernel_without_peer_pidfd_gives_a_weak_answer_that_can_be_refused() {
    let attestors: Arc<[Attestor]> = Arc::new([Attestor {
        inspect: Arc::new(Unix::default()),
        optional: false,
    }]);
    for refuse_weak in [false, true] {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = Arc::new(UnixPeer::of(&here).unwrap().without_pidfd());
        let options = Options {
            refuse_weak,
            ..Options::default()
        };
        let caller = ProcessHost::new(options).unwrap().caller(&peer);
        let outcome = caller.attest(&attestors).await;
        if refuse_weak {
            assert!(matches!(
                outcome,
                Err(AttestError::Process(ProcessError::Refused(_)))
            ));
            assert!(caller.watch().is_err());
        } else {
            assert_eq!(outcome.unwrap().strength, Strength::Weak);
            assert_eq!(caller.watch().unwrap().recheck(), Ok(()));
        }
    }
}

#[tokio::test]
async fn an_agent_that_looks_at_no_programs_states_no_path() {
    let (here, _there) = UnixStream::pair().unwrap();
    let peer = Arc::new(UnixPeer::of(&here).unwrap());
    let options = Options {
        programs: false,
        ..Options::default()
    };
    let host = ProcessHost::new(options).unwrap();
    let caller = host.caller(&peer);
    let attest = |path| {
        let config = Config {
            path,
            ..Config::default()
        };
        let inspect = Arc::new(Unix::new(config));
        let attestors: Arc<[Attestor]> = Arc::new([Attestor {
            inspect,
            optional: false,
        }]);
        let caller = caller.clone();
        async move { caller.attest(&attestors).await }
    };
    assert!(attest(false).await.is_ok());
    let outcome = attest(true).await;
    assert!(
        matches!(outcome, Err(AttestError::Process(_))),
        "a missing fact was left out"
    );
}

#[test]
fn a_look_serves_what_was_due_before_it_and_not_for_long() {
    let clock = Clock::manual(Timestamp(1_000));
    let host = ProcessHost::for_tests(Options::default(), clock.clone()).unwrap();
    let mut running = Running::sleep();
    let handle = running.pidfd.try_clone().unwrap();
    let watched = Watched::new(Arc::new(handle.into()), running.child.id());
    let look = |due| watched.look_since(due, &host.proc, true, &clock);
    let start = clock.boottime();
    clock.advance(identity::Seconds(1));
    assert!(look(start).is_ok());
    running.child.kill().unwrap();
    // Its program is gone a moment before its end is known.
    let _status = running.child.wait().unwrap();
    assert!(look(start).is_ok(), "what was due before the look");
    let due_now = look(clock.boottime());
    assert_eq!(due_now.unwrap_err(), ProcessError::Gone, "due after it");
    clock.advance(identity::Seconds(1));
    assert_eq!(look(start).unwrap_err(), ProcessError::Gone, "not for long");
}

#[tokio::test]
async fn u5_a_service_that_runs_as_nobody_is_attested() {
    let mut command = Command::new("sleep");
    command.arg("1000").uid(65_534).gid(65_534);
    // This test starts a process of another user: run it as root.
    let running = Running::start(&mut command);
    let attestors: Arc<[Attestor]> = Arc::new([Attestor {
        inspect: Arc::new(Unix::default()),
        optional: false,
    }]);
    let caller = host().numbered(running.child.id(), Strength::Strong);
    let attested = caller.unwrap().attest(&attestors).await.unwrap();
    let mut stated = attested.selectors.iter().map(ToString::to_string);
    assert!(stated.any(|selector| selector == "unix:uid:65534"));
}
