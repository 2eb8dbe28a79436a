//! The shipped programs as child processes.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::wait::eventually_within;

/// A program that `cargo build --bins` made, beside the test binary.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --bins` first",
        path.display()
    );
    path
}

/// A `bulla` command that sees nothing of the tester's environment.
#[must_use]
pub fn bulla() -> Command {
    let mut command = Command::new(program("bulla"));
    for name in [
        "BULLA_ADMIN_SOCKET",
        "BULLA_JOIN_TOKEN",
        "SPIFFE_ENDPOINT_SOCKET",
    ] {
        command.env_remove(name);
    }
    command
}

/// How a command that ran to its end went.
pub struct Ran {
    /// Its exit code; a signal counts as 255.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    /// Runs a command to its end.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let output = command
            .stdin(Stdio::null())
            .output()
            .expect("command starts");
        Self {
            code: output.status.code().unwrap_or(255),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Insists on success.
    #[must_use]
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// The answer as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {}\nerr: {}", self.out, self.err))
    }
}

/// A long-running process whose output goes to a log file.
pub struct Process {
    child: Child,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts a command, its output in `log` (appended).
    #[must_use]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        Self {
            child: command.spawn().expect("process starts"),
            log: log.to_owned(),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether and how it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Kills it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop and waits at most `patience`.
    pub fn stop_within(mut self, patience: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        eventually_within(patience, "process drains", || self.ended())
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self, what: &str) -> ExitStatus {
        eventually_within(Duration::from_secs(30), what, || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed half way leaves nothing running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds arguments in one go.
pub(crate) fn with_args<S: AsRef<OsStr>>(
    mut command: Command,
    args: impl IntoIterator<Item = S>,
) -> Command {
    command.args(args);
    command
}
