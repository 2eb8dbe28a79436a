//! A folder with an attacker's program, the victim's program and sockets, and
//! processes that are started from it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::roles::FLAG;

pub(crate) const ATTACKER_UID: u32 = 1000;
pub(crate) const VICTIM_UID: u32 = 2000;

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) attacker: PathBuf,
    pub(crate) victim: PathBuf,
    pub(crate) setuid_victim: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let copy = |name: &str, mode| {
            let path = folder.path().join(name);
            fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        };
        Self {
            attacker: copy("attacker", 0o755),
            victim: copy("victim", 0o755),
            setuid_victim: copy("setuid-victim", 0o4755),
            folder,
        }
    }

    /// The selector of the victim's path.
    pub(crate) fn victim_path(&self) -> String {
        format!("unix:path:{}", self.victim.display())
    }

    /// What an honest process of the victim's program is told.
    pub(crate) fn honest(&self, socket: &str, uid: u32) -> String {
        Actor::start(&self.victim, uid, &["honest", socket]).line()
    }
}

/// A running process with a role; killed when dropped.
pub(crate) struct Actor {
    pub(crate) child: Child,
    output: BufReader<ChildStdout>,
    _input: ChildStdin,
}

impl Actor {
    pub(crate) fn start(program: &Path, uid: u32, role: &[&str]) -> Self {
        let mut child = Command::new(program)
            .arg(FLAG)
            .args(role)
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            output: BufReader::new(child.stdout.take().unwrap()),
            _input: child.stdin.take().unwrap(),
            child,
        }
    }

    /// The next line that the process or a child of it says.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits for the process itself; its children may go on.
    pub(crate) fn wait(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Fails unless `answer` states `fact`.
pub(crate) fn must_hold(answer: &str, fact: &str) {
    assert!(answer.starts_with("issued "), "not served: {answer}");
    assert!(
        answer.split(' ').any(|s| s == fact),
        "without {fact}: {answer}"
    );
}

/// Fails when `answer` states anything: the caller must be refused.
pub(crate) fn must_be_refused(answer: &str) {
    assert!(
        answer.starts_with("refused ") || answer == "closed",
        "the attack succeeded: {answer}"
    );
}
