//! Files on disk together with what follows each change of them: writing,
//! running the hook, and trying again what failed, while something else is
//! waited for.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;
use crate::command::WriteArgs;
use crate::failure::Failure;
use crate::files::{Folder, NewFile, Ownership};
use crate::hook::Hook;
use crate::output::Output;

/// Before the first new try to reach the agent; doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A folder that is kept fresh.
pub(super) struct Kept {
    folder: Folder,
    hook: Option<Hook>,
    last: Option<[u8; 32]>,
    pause: Duration,
}

impl Kept {
    /// Opens the folder that the command line names, if it names one.
    ///
    /// # Errors
    /// The folder, the owner or the hook cannot be used.
    pub(super) fn open(args: &WriteArgs, kind: &'static str) -> Result<Option<Self>, Failure> {
        let hook = Hook::parse(args)?;
        let ownership = Ownership::parse(args)?;
        let Some(path) = &args.write else {
            return Ok(None);
        };
        Ok(Some(Self {
            folder: Folder::open(path, kind, ownership)?,
            hook,
            last: None,
            pause: FIRST_PAUSE,
        }))
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What a file says that was written last, by this run or one before.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.folder.read(name)
    }

    /// Whether anything was written so far.
    pub(super) const fn has_written(&self) -> bool {
        self.last.is_some()
    }

    /// Writes and runs the hook, once.
    ///
    /// # Errors
    /// Either failed.
    pub(super) async fn write_once(&mut self, files: &[NewFile]) -> Result<(), Failure> {
        self.folder.put(files)?;
        match &mut self.hook {
            Some(hook) => hook.run(self.folder.path()).await,
            None => Ok(()),
        }
    }

    /// Writes, unless it is what was written last, and runs the hook. What becomes
    /// of the hook is reported; the caller only hears of files that were not written.
    ///
    /// # Errors
    /// A file cannot be written, or standard output is closed.
    pub(super) async fn write(
        &mut self,
        files: &[NewFile],
        about: Value,
        out: &mut Output,
    ) -> Result<(), Failure> {
        self.pause = FIRST_PAUSE;
        let digest = digest(files);
        if self.last == Some(digest) {
            return Ok(());
        }
        let generation = self.folder.put(files)?;
        self.last = Some(digest);
        let mut event = json!({ "event": "written", "generation": generation });
        if let (Some(event), Value::Object(about)) = (event.as_object_mut(), about) {
            event.extend(about);
        }
        report(&event, out)?;
        self.run_hook(out).await
    }

    async fn run_hook(&mut self, out: &mut Output) -> Result<(), Failure> {
        let Some(hook) = &mut self.hook else {
            return Ok(());
        };
        let outcome = hook.run(self.folder.path()).await;
        let event = json!({
            "event": "hook",
            "ok": outcome.is_ok(),
            "runs": hook.runs,
            "failures": hook.failures,
            "why": outcome.as_ref().err().map(|failure| failure.what.clone()),
        });
        if let Err(failure) = outcome {
            let due = hook
                .due
                .map(|at| at.saturating_duration_since(clock::instant()));
            let seconds = due.unwrap_or_default().as_secs_f32().ceil();
            tracing::error!("{}; it is tried again in {seconds} s", failure.what);
        }
        report(&event, out)
    }

    /// Waits for something, and meanwhile tries a failed hook again when it is due.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) async fn meanwhile<T>(
        &mut self,
        event: impl Future<Output = T>,
        out: &mut Output,
    ) -> Result<T, Failure> {
        let mut event = pin!(event);
        loop {
            let Some(due) = self.hook.as_ref().and_then(|hook| hook.due) else {
                return Ok(event.await);
            };
            tokio::select! {
                value = &mut event => return Ok(value),
                () = tokio::time::sleep_until(due.into()) => self.run_hook(out).await?,
            }
        }
    }

    /// Says that the agent is away or refuses, and waits before the next try.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) async fn back_off(
        &mut self,
        failure: &Failure,
        not_after: Option<i64>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        let seconds = pause.as_secs_f32();
        let kept = match not_after {
            Some(end) if end <= clock::now().0 => {
                "the files are kept, but what they hold has EXPIRED"
            }
            Some(_) => "the files are kept and still valid",
            None => "nothing is written yet",
        };
        let next = failure.next.as_deref().unwrap_or_default();
        let next = if next.is_empty() {
            String::new()
        } else {
            format!(" ({next})")
        };
        tracing::warn!("{}{next}; {kept}; next try in {seconds} s", failure.what);
        let event = json!({
            "event": "waiting", "why": failure.what, "retry_seconds": seconds,
        });
        if out.is_json() {
            out.record(&event)?;
        }
        self.meanwhile(tokio::time::sleep(pause), out).await
    }

    /// The end: on request, and well unless the hook is owed a good run.
    ///
    /// # Errors
    /// The hook's last run failed.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        match &self.hook {
            Some(hook) if hook.in_a_row > 0 => Err(Failure::refused(format!(
                "stopped while the hook was failing ({} of {} runs failed)",
                hook.failures, hook.runs
            ))
            .next("the files are in place; do by hand what the hook would have done")),
            _ => Ok(()),
        }
    }
}

fn report(event: &Value, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.record(event)?);
    }
    let text = |name: &str| crate::output::text(event, name);
    if text("event") == "written" {
        out.line(format!(
            "generation {}: {} until {}",
            crate::output::member(event, "generation"),
            text("spiffe_id"),
            text("not_after"),
        ))?;
    }
    Ok(())
}

fn digest(files: &[NewFile]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for file in files {
        for part in [file.name.as_bytes(), file.contents.as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
