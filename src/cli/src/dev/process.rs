//! The server and the agent as child processes: started, waited for, and ended
//! with us.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::folder::Folder;
use crate::failure::Failure;

/// How long a part may take to come up.
const START_MAX: Duration = Duration::from_secs(20);
/// How long a part may take to drain.
const STOP_MAX: Duration = Duration::from_secs(12);
/// How often we look whether a socket is there yet.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// One running part.
pub(super) struct Part {
    name: &'static str,
    log: std::path::PathBuf,
    child: Child,
}

impl Part {
    /// Starts `program NAME --config FOLDER/NAME.toml`, its log beside it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) fn start(
        program: &Path,
        name: &'static str,
        folder: &Folder,
        join_token: Option<&str>,
    ) -> Result<Self, Failure> {
        let log = folder.path().join(format!("{name}.log"));
        let file = File::create(&log)?;
        let mut command = Command::new(program);
        command
            .arg(name)
            .arg("--config")
            .arg(folder.path().join(format!("{name}.toml")));
        if let Some(token) = join_token {
            command.env("BULLA_JOIN_TOKEN", token);
        }
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true);
        // Ctrl-C goes to the whole foreground group; the parts are stopped by us, in order.
        command.process_group(0);
        let child = command.spawn()?;
        Ok(Self { name, log, child })
    }

    /// The process id, while it runs.
    #[must_use]
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits until somebody listens at `socket`.
    ///
    /// # Errors
    /// The part ended, or took too long; its log says why.
    pub(super) async fn listening(&mut self, socket: &Path) -> Result<(), Failure> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let waiting = async {
            loop {
                look.tick().await;
                if tokio::net::UnixStream::connect(socket).await.is_ok() {
                    return Ok(());
                }
                if let Some(status) = self.child.try_wait()? {
                    return Err(self.failed(&format!("ended with {status}")));
                }
            }
        };
        match timeout(START_MAX, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.failed("did not come up in time")),
        }
    }

    fn failed(&self, how: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Failure::refused(format!("the {} {how}:\n  {}", self.name, tail.join("\n  ")))
            .next(format!("read the whole log at {}", self.log.display()))
    }

    /// Asks the part to stop and waits until it has drained.
    ///
    /// # Errors
    /// It did not stop in time and was killed, or ended badly.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let Some(pid) = self.child.id() else {
            return Ok(());
        };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap_or_default());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)
            .map_err(|error| Failure::refused(format!("cannot stop the {}: {error}", self.name)))?;
        match timeout(STOP_MAX, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failed(&format!("ended with {status}"))),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                self.child.start_kill()?;
                Err(self.failed("did not drain in time"))
            }
        }
    }
}
