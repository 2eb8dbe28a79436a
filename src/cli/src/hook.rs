//! What follows a change on disk: a command, or a signal to a running server.
//! Nothing it does goes unseen: its output becomes log lines, its failures are
//! counted, reported and tried again.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::clock;
use crate::command::WriteArgs;
use crate::failure::Failure;

/// Before the first repeat of a failed hook; doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Bytes of output that are shown for one run; the rest is read and dropped.
const OUTPUT_MAX: u64 = 16 * 1024;
/// How long output is waited for once the command has ended: a child of it may
/// hold on to the pipe for ever.
const OUTPUT_WAIT: Duration = Duration::from_millis(500);
/// The longest pid file.
const PID_FILE_MAX: usize = 64;

enum Action {
    Exec { command: String, timeout: Duration },
    Signal { pid_file: PathBuf, signal: Signal },
}

/// What to do after each change, and how that has gone so far.
pub(crate) struct Hook {
    action: Action,
    /// How often it ran.
    pub(crate) runs: u64,
    /// How often it failed.
    pub(crate) failures: u64,
    /// How often it has failed since it last went well.
    pub(crate) in_a_row: u32,
    /// When it is tried again.
    pub(crate) due: Option<Instant>,
}

impl Hook {
    /// The hook that the command line asks for, if any.
    ///
    /// # Errors
    /// The signal has no such name.
    pub(crate) fn parse(args: &WriteArgs) -> Result<Option<Self>, Failure> {
        let action = match (&args.exec, args.signal.as_slice()) {
            (Some(command), _) => Action::Exec {
                command: command.clone(),
                timeout: Duration::from_secs(args.exec_timeout),
            },
            (None, [pid_file, signal]) => Action::Signal {
                pid_file: pid_file.into(),
                signal: parse_signal(signal)?,
            },
            (None, _) => return Ok(None),
        };
        Ok(Some(Self {
            action,
            runs: 0,
            failures: 0,
            in_a_row: 0,
            due: None,
        }))
    }

    /// Runs it once; a failure is counted and sets the time of the next try.
    ///
    /// # Errors
    /// It failed: how, and how often it did so far.
    pub(crate) async fn run(&mut self, folder: &Path) -> Result<(), Failure> {
        self.runs += 1;
        self.due = None;
        let done = match &self.action {
            Action::Exec { command, timeout } => execute(command, folder, *timeout).await,
            Action::Signal { pid_file, signal } => send(pid_file, *signal),
        };
        let Err(what) = done else {
            self.in_a_row = 0;
            return Ok(());
        };
        self.failures += 1;
        self.in_a_row = self.in_a_row.saturating_add(1);
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.in_a_row - 1).min(10));
        self.due = clock::instant().checked_add(doubled.min(LONGEST_PAUSE));
        Err(Failure::refused(format!(
            "the hook failed: {what} ({} in a row, {} of {} runs)",
            self.in_a_row, self.failures, self.runs
        )))
    }
}

fn parse_signal(name: &str) -> Result<Signal, Failure> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    full.parse().map_err(|_unknown| {
        Failure::usage(format!("{name:?} is no signal")).next("name it like HUP or SIGUSR1")
    })
}

/// Signals the process that a pid file names. A process that is not there will
/// read the new files when it starts, so that is no failure.
fn send(pid_file: &Path, signal: Signal) -> Result<(), String> {
    let shown = pid_file.display();
    let text = match std::fs::read_to_string(pid_file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::info!("nothing to signal: there is no {shown}");
            return Ok(());
        }
        Err(error) => return Err(format!("{shown} cannot be read: {error}")),
    };
    let number: Option<i32> = text
        .get(..text.len().min(PID_FILE_MAX))
        .and_then(|text| text.lines().next()?.trim().parse().ok());
    // 0, 1 and negative numbers would reach far more than one server.
    let Some(pid) = number.filter(|pid| *pid > 1) else {
        return Err(format!("{shown} holds no process id"));
    };
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::ESRCH) => {
            tracing::info!("nothing to signal: process {pid} of {shown} is gone");
            Ok(())
        }
        Err(error) => Err(format!("process {pid} cannot be sent {signal}: {error}")),
    }
}

async fn execute(command: &str, folder: &Path, timeout: Duration) -> Result<(), String> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("BULLA_FOLDER", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that a command that hangs ends with its children.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it does not start: {error}"))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let output = [
        child.stdout.take().map(|pipe| tokio::spawn(show(pipe))),
        child.stderr.take().map(|pipe| tokio::spawn(show(pipe))),
    ];
    let ended = tokio::time::timeout(timeout, child.wait()).await;
    if ended.is_err()
        && let Some(group) = group
    {
        // It may have ended in this moment.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = child.wait().await;
    }
    for reader in output.into_iter().flatten() {
        let abort = reader.abort_handle();
        if tokio::time::timeout(OUTPUT_WAIT, reader).await.is_err() {
            abort.abort();
        }
    }
    match ended {
        Ok(Ok(status)) => judge(status),
        Ok(Err(error)) => Err(format!("it cannot be waited for: {error}")),
        Err(_elapsed) => Err(format!("it took longer than {} s", timeout.as_secs())),
    }
}

fn judge(status: ExitStatus) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    Err(match status.code() {
        Some(code) => format!("it ended with status {code}"),
        None => format!("it ended by {status}"),
    })
}

/// Logs what the command says, line by line, without control characters.
async fn show(pipe: impl AsyncRead + Unpin) {
    let mut shown = BufReader::new(pipe.take(OUTPUT_MAX));
    let mut line = Vec::new();
    while let Ok(1..) = shown.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        let text: String = text.trim_end().chars().map(printable).collect();
        tracing::info!("hook: {text}");
        line.clear();
    }
    // Drained, so that the command does not stand still on a full pipe.
    let mut rest = shown.into_inner().into_inner();
    let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
}

fn printable(character: char) -> char {
    if character.is_control() && character != '\t' {
        '\u{fffd}'
    } else {
        character
    }
}

#[cfg(test)]
#[path = "hook_tests.rs"]
mod tests;
