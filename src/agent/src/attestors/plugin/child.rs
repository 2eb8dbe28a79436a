//! A plug-in's process: started with nothing but what the protocol demands, and
//! read to the end so that it never waits for us.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use external::{Handshake, MAX_HANDSHAKE_BYTES};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdout, Command};

use super::program;
use crate::config::ExternalConfig;

/// How long a plug-in may take from its start to its first line.
const START: Duration = Duration::from_secs(10);
/// The longest line of a plug-in's log that is passed on, in bytes.
const LOG_LINE: usize = 2048;

/// A running plug-in; killed when dropped.
pub(super) struct Child {
    process: tokio::process::Child,
    pid: u32,
    socket: PathBuf,
}

impl Child {
    /// Starts the program and waits until it says where it listens.
    pub(super) async fn start(
        name: &'static str,
        config: &ExternalConfig,
        sha256: [u8; 32],
        folder: &Path,
    ) -> Result<Self, String> {
        let path = config.path.clone();
        let checked = tokio::task::spawn_blocking(move || program::checked(&path, sha256));
        let program = checked.await.map_err(|error| error.to_string())??;
        fresh(folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        let mut process = command(&program, config, folder)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", config.path.display()))?;
        let pid = process.id().unwrap_or_default();
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(pass_on(name, stderr));
        }
        let stdout = process.stdout.take().ok_or("it has no output")?;
        let line = tokio::time::timeout(START, first_line(stdout))
            .await
            .unwrap_or_else(|_| Err("it did not say where it listens in time".to_owned()))?;
        let handshake = Handshake::parse(&line, folder).map_err(|error| error.to_string())?;
        Ok(Self {
            process,
            pid,
            socket: handshake.socket,
        })
    }

    /// The number of the process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until it has ended, and says how.
    pub(super) async fn ended(&mut self) -> String {
        match self.process.wait().await {
            Ok(status) => format!("it ended with {status}"),
            Err(error) => format!("it cannot be waited for: {error}"),
        }
    }

    /// Ends it, and what it started.
    pub(super) async fn kill(&mut self) {
        self.kill_group();
        // It may have ended by itself.
        let _ended = self.process.kill().await;
    }

    fn kill_group(&self) {
        // While it was not waited for, its number is nobody else's.
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _gone = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn command(program: &OwnedFd, config: &ExternalConfig, folder: &Path) -> Command {
    // Looked up in the child, which has the descriptor until it executes.
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command
        .arg0(&config.path)
        .env_clear()
        .envs(Handshake::ENVIRONMENT)
        .envs(Handshake::FOLDER_VARIABLES.map(|name| (name, folder)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A Ctrl-C at the agent's terminal is the agent's to deal with.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Makes the plug-in's folder anew, for the agent's user alone.
fn fresh(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)
}

async fn first_line(stdout: ChildStdout) -> Result<String, String> {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_HANDSHAKE_BYTES).unwrap_or(u64::MAX);
    let read = (&mut stdout).take(limit).read_until(b'\n', &mut line).await;
    read.map_err(|error| error.to_string())?;
    tokio::spawn(drain(stdout));
    String::from_utf8(line)
        .map_err(|error| format!("its first line is no text: {}", error.utf8_error()))
}

async fn drain(mut output: impl AsyncRead + Unpin) {
    let _ended = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
}

/// Passes a plug-in's log on into the agent's, line by line.
async fn pass_on(name: &'static str, stderr: ChildStderr) {
    let mut stderr = BufReader::with_capacity(LOG_LINE, stderr);
    loop {
        let buffer = match stderr.fill_buf().await {
            Ok([]) | Err(_) => return,
            Ok(buffer) => buffer,
        };
        // A longer line comes in pieces.
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = buffer
            .get(..end.unwrap_or(buffer.len()))
            .unwrap_or_default();
        let line = String::from_utf8_lossy(piece).into_owned();
        let used = end.map_or(buffer.len(), |end| end + 1);
        stderr.consume(used);
        tracing::debug!(attestor = name, line, "an attestor says");
    }
}

#[cfg(test)]
mod tests {
    use ring::digest::{SHA256, digest};

    use super::*;

    async fn start(path: &str) -> Result<Child, String> {
        let folder = tempfile::TempDir::new().unwrap();
        let bytes = std::fs::read(path).unwrap();
        let sha256: [u8; 32] = digest(&SHA256, &bytes).as_ref().try_into().unwrap();
        let config = ExternalConfig {
            name: "rack".to_owned(),
            path: path.into(),
            sha256: hex::encode(sha256),
            config: String::new(),
            optional: false,
        };
        Child::start("rack", &config, sha256, &folder.path().join("own")).await
    }

    #[tokio::test]
    async fn programs_that_are_no_plug_in_are_refused_whatever_they_print() {
        // Without end, without a word, and something else.
        for program in ["/usr/bin/yes", "/bin/true", "/usr/bin/env"] {
            let refused = start(program).await.err().unwrap();
            assert!(refused.contains("is no handshake"), "{program}: {refused}");
        }
    }
}
