//! The state of a tour and how it speaks: numbered steps with what was seen.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::TRUST_DOMAIN;
use super::folder::Folder;
use super::process::Part;
use super::steps::SHORT_TTL;
use crate::clock;
use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::output::Output;

/// How long one demo service may take.
const SERVICE_MAX: Duration = Duration::from_secs(15);

/// A running tour.
pub(super) struct Tour<'a> {
    /// Where everything lives.
    pub folder: Folder,
    /// This program.
    pub program: PathBuf,
    /// The server, once started.
    pub server: Option<Part>,
    /// The agent, once started.
    pub agent: Option<Part>,
    out: &'a mut Output,
    started: Instant,
    step: u32,
}

impl<'a> Tour<'a> {
    /// A tour in a prepared folder.
    pub(super) fn new(folder: Folder, program: PathBuf, out: &'a mut Output) -> Self {
        let started = clock::instant();
        Self {
            folder,
            program,
            server: None,
            agent: None,
            out,
            started,
            step: 0,
        }
    }

    /// The server's admin socket, as the commands take it.
    #[must_use]
    pub(super) fn admin(&self) -> AdminSocket {
        AdminSocket {
            server: None,
            identity: None,
            path: self.folder.admin_socket(),
        }
    }

    /// The agent's workload socket, as the commands take it.
    #[must_use]
    pub(super) fn workload_socket(&self) -> String {
        self.folder.workload_socket().display().to_string()
    }

    /// Says that a step held, and what was seen.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn held(&mut self, title: &str, seen: &[(&str, Value)]) -> Result<(), Failure> {
        self.step += 1;
        let at = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.out.is_json() {
            let seen: serde_json::Map<String, Value> = seen
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            let record = json!({ "step": self.step, "title": title, "at_ms": at, "seen": seen });
            return Ok(self.out.record(&record)?);
        }
        self.out
            .line(format!("{:>2}. {title}  ({at} ms)", self.step))?;
        for (name, value) in seen {
            match value {
                Value::String(text) => self.out.line(format!("      {name:<14} {text}"))?,
                Value::Array(items) => {
                    for item in items {
                        let text = item
                            .as_str()
                            .map_or_else(|| item.to_string(), str::to_owned);
                        self.out.line(format!("      {name:<14} {text}"))?;
                    }
                }
                other => self.out.line(format!("      {name:<14} {other}"))?,
            }
        }
        Ok(())
    }

    /// A demo service of its own executable path, ready to be started.
    ///
    /// # Errors
    /// The program cannot be linked.
    pub(super) fn service(&self, name: &str) -> Result<Command, Failure> {
        let path = self.folder.path().join("bin").join(name);
        let path = if path.exists() {
            path
        } else {
            self.folder.service(&self.program, name)?
        };
        let mut command = Command::new(path);
        command
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs a demo service to its end, with `input` on its standard input.
    ///
    /// # Errors
    /// It cannot be run, or takes too long.
    pub(super) async fn finish(
        &self,
        command: &mut Command,
        input: &str,
    ) -> Result<Finished, Failure> {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = timeout(SERVICE_MAX, child.wait_with_output())
            .await
            .map_err(|_elapsed| Failure::unreachable("a demo service did not finish in time"))??;
        Ok(Finished {
            success: output.status.success(),
            answer: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            text: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            errors: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs one of the commands that admins use, and answers with its JSON.
    ///
    /// # Errors
    /// The command failed; says what it said.
    pub(super) async fn admin_command(&self, args: &[&str]) -> Result<Value, Failure> {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--json").kill_on_drop(true);
        command.env("BULLA_ADMIN_SOCKET", self.folder.admin_socket());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let done = self.finish(command.stderr(Stdio::piped()), "").await?;
        if done.success {
            return Ok(done.answer);
        }
        let what = format!("bulla {}: {}", args.join(" "), done.errors);
        Err(Failure::refused(what))
    }

    /// Prints what to try on the trust domain that stays up.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn what_next(&mut self) -> Result<(), Failure> {
        if self.out.is_json() {
            return Ok(());
        }
        let program = self.program.display();
        let (admin, workload) = (self.folder.admin_socket(), self.folder.workload_socket());
        let logs = self.folder.path().display();
        Ok(self.out.line(format!(
            "\nThe trust domain {TRUST_DOMAIN} stays up until Ctrl-C. In another terminal:\n\n  \
             export BULLA_ADMIN_SOCKET={}\n  export SPIFFE_ENDPOINT_SOCKET=unix://{}\n  \
             {program} fetch x509                     this shell's identity\n  \
             {program} fetch x509 --watch             and each renewal of it\n  \
             {program} fetch jwt --audience payments  a token\n  \
             {program} explain me                     what is attested of this shell, and what that gives it\n  \
             {program} explain pid $$ --agent-admin-socket {}\n  \
             curl -sS --unix-socket {} -H 'workload.spiffe.io: true' http://localhost/v1/svid/x509\n  \
             {program} entry list                     who may be what\n  \
             {program} explain who-can payments:charge.read payments\n  \
             {program} audit list --last 20           who got what, and why not\n  \
             {program} audit verify                   that nobody changed the record\n\n\
             This shell's certificates live for {SHORT_TTL} s, so that renewals can be watched: a saved one \
             soon fails `openssl verify`.\n\
             For longer ones: {program} entry update ID --x509-ttl 1h (the ID is in `entry list`)\n\n\
             Logs: {logs}/server.log, {logs}/agent.log",
            admin.display(),
            workload.display(),
            self.folder.agent_admin_socket().display(),
            workload.display(),
        ))?)
    }

    /// Stops agent and server, in that order.
    ///
    /// # Errors
    /// One of them did not drain.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        if let Some(agent) = self.agent.take() {
            agent.stop().await?;
        }
        if let Some(server) = self.server.take() {
            server.stop().await?;
        }
        Ok(())
    }
}

/// How a demo service ended.
pub(super) struct Finished {
    /// Whether it ended with success.
    pub success: bool,
    /// Its standard output, when that was JSON.
    pub answer: Value,
    /// Its standard output.
    pub text: String,
    /// Its standard error.
    pub errors: String,
}

impl Finished {
    /// The first line of what it complained about.
    #[must_use]
    pub(super) fn complaint(&self) -> String {
        let line = self.errors.lines().find(|line| line.starts_with("error: "));
        line.unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned()
    }
}
