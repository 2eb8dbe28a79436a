//! Keeping the active policy set loaded: at start, after an activation here or on
//! another server, again when it failed. A set that does not load decides nothing.

use std::sync::{Arc, Weak};
use std::time::Duration;

use pdp::Engine;
use policy::{Digest, SourceFile, Sources};
use records::{ActivationRecord, PolicyFile};
use tokio::sync::watch;

use super::{Active, Inner, Tokens};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

use super::plan::{Mistakes, PolicyPlan, Proposal};

/// A set that could not be loaded is tried again after so long.
const RETRY: Duration = Duration::from_secs(10);

/// Loads whatever is activated, until the server stops. While it waits it holds
/// nothing of the server.
async fn keep(
    tokens: Weak<Inner>,
    mut changes: watch::Receiver<()>,
    stopped: impl Future<Output = ()> + Send,
) {
    tokio::pin!(stopped);
    loop {
        changes.mark_unchanged();
        let Some(inner) = tokens.upgrade() else {
            return;
        };
        let retry = match Tokens(inner).load().await {
            Ok(()) => Duration::MAX,
            Err(_told) => RETRY,
        };
        tokio::select! {
            () = &mut stopped => return,
            () = tokio::time::sleep(retry) => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

impl Tokens {
    /// Loads the active policy set and keeps it loaded. What does not load decides
    /// nothing; everything else is served.
    pub(crate) async fn start(&self, stopped: impl Future<Output = ()> + Send + 'static) {
        let _told = self.load().await;
        let changes = self.0.parts.state.policy_changes();
        tokio::spawn(keep(Arc::downgrade(&self.0), changes, stopped));
    }

    /// Loads the active policy set, if it is not loaded yet.
    ///
    /// # Errors
    /// It cannot be read or does not validate. From then on nothing is decided.
    pub(crate) async fn load(&self) -> Result<(), Failure> {
        let _one_at_a_time = self.0.loading.lock().await;
        let outcome = self.load_newest().await;
        if let Err(failure) = &outcome {
            tracing::error!(%failure, "the active policy set is not loaded: no scoped token is minted");
            self.0.active.store(None);
            self.0
                .fault
                .store(Some(Arc::new(failure.message().to_owned())));
            self.0.parts.state.tell_policy();
        }
        outcome
    }

    async fn load_newest(&self) -> Result<(), Failure> {
        let state = &self.0.parts.state;
        let Some(newest) = state.active_policy()? else {
            self.0.active.store(None);
            self.0.fault.store(None);
            return Ok(());
        };
        let held = self.active();
        if held.is_some_and(|held| held.activation == newest) {
            return Ok(());
        }
        let (engine, sources) = self.read(&newest).await?;
        self.show(engine, sources, newest);
        Ok(())
    }

    fn show(&self, engine: Engine, sources: Sources, activation: Arc<ActivationRecord>) {
        tracing::info!(
            policy_set = activation.digest,
            "policy set decides from now on"
        );
        self.0.active.store(Some(Arc::new(Active {
            engine,
            sources,
            activation,
        })));
        self.0.fault.store(None);
        self.0.parts.state.tell_policy();
    }

    /// Reads a kept policy set back and loads it. What comes back must be what was
    /// activated.
    async fn read(&self, kept: &ActivationRecord) -> Result<(Engine, Sources), Failure> {
        let files = self.0.parts.state.policy_files(kept).await?;
        let loaded = tokio::task::spawn_blocking(move || load(from_stored(files))).await;
        let (engine, sources) = loaded.map_err(Failure::internal)??;
        if engine.digest().to_string() != kept.digest {
            let text = format!(
                "policy set {} reads back as {}",
                kept.digest,
                engine.digest()
            );
            return Err(Failure::internal(text));
        }
        Ok((engine, sources))
    }

    /// Activates a policy set when nothing is against it.
    ///
    /// # Errors
    /// What the caller saw active no longer is; or the store or journal failed. A set
    /// that does not validate, or whose tests fail, is an answer: a plan without
    /// activation.
    pub(crate) async fn activate(
        &self,
        caller: &Caller,
        proposal: Proposal,
    ) -> Result<(PolicyPlan, Option<Arc<ActivationRecord>>), Failure> {
        let _one_at_a_time = self.0.loading.lock().await;
        self.expect(&proposal.expected)?;
        let comment = clip(&proposal.comment);
        let planned = self.plan_files(proposal.files, Mistakes::Refuse).await?;
        let (plan, Some((engine, sources))) = planned else {
            return Ok((planned.0, None));
        };
        let files = sources.files().map(to_stored).collect();
        let wanted = self.activation(caller, &engine, comment, false);
        let state = &self.0.parts.state;
        let made = state.activate_policy(caller, wanted, Some(files)).await?;
        self.show(engine, sources, Arc::clone(&made));
        Ok((plan, Some(made)))
    }

    /// Goes back to a policy set that is kept; with `plan` only says what would change.
    ///
    /// # Errors
    /// No kept set has that digest, or several begin with it; it no longer validates;
    /// or the store or journal failed.
    pub(crate) async fn rollback(
        &self,
        caller: &Caller,
        digest: &str,
        comment: &str,
        plan_only: bool,
    ) -> Result<(PolicyPlan, Option<Arc<ActivationRecord>>), Failure> {
        let _one_at_a_time = self.0.loading.lock().await;
        let kept = self.named(digest)?;
        let files = self.0.parts.state.policy_files(&kept).await?;
        let files = files.into_iter().map(from_file).collect();
        let planned = self.plan_files(files, Mistakes::Tell).await?;
        let (plan, Some((engine, sources))) = planned else {
            return Ok((planned.0, None));
        };
        if engine.digest().to_string() != kept.digest {
            return Err(Failure::new(
                Kind::Precondition,
                "this server derives decisions from the set otherwise than the one that activated it; apply its files anew",
            ));
        }
        if plan_only {
            return Ok((plan, None));
        }
        let wanted = self.activation(caller, &engine, clip(comment), true);
        let state = &self.0.parts.state;
        let made = state.activate_policy(caller, wanted, None).await?;
        self.show(engine, sources, Arc::clone(&made));
        Ok((plan, Some(made)))
    }

    fn activation(
        &self,
        caller: &Caller,
        engine: &Engine,
        comment: String,
        rollback: bool,
    ) -> ActivationRecord {
        ActivationRecord {
            number: 0,
            digest: engine.digest().to_string(),
            catalogue: engine.catalogue().digest().to_string(),
            chunks: 0,
            at: self.0.parts.clock.now(),
            by: person(caller),
            comment,
            previous: String::new(),
            rollback,
        }
    }

    fn expect(&self, expected: &str) -> Result<(), Failure> {
        let active = self.0.parts.state.active_policy();
        let active = active.unwrap_or_default();
        let active = active.map_or_else(|| "none".to_owned(), |a| a.digest.clone());
        // A set that cannot be read or loaded was shown to the proposer as none.
        let none_decides = self.active().is_none() && expected == "none";
        if expected.is_empty() || expected == active || none_decides {
            return Ok(());
        }
        let text = format!("the active policy set is {active}, not {expected}; look again");
        Err(Failure::new(Kind::Precondition, text))
    }

    /// The kept set that a digest, or the beginning of one, names; empty is the active.
    ///
    /// # Errors
    /// None does, or several do.
    pub(crate) fn named(&self, digest: &str) -> Result<Arc<ActivationRecord>, Failure> {
        let kept = self.0.parts.state.activations();
        let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
        if !digits.is_empty() && digits.len() < 4 {
            return Err(Failure::invalid("digest: give at least its first 4 digits"));
        }
        let begins = |a: &&Arc<ActivationRecord>| {
            let full = a.digest.strip_prefix("sha256:");
            full.is_some_and(|full| full.starts_with(digits))
        };
        let mut fits = kept.iter().filter(begins);
        let none =
            || Failure::not_found("no policy set that is kept has that digest; see the history");
        let first = fits.next().ok_or_else(none)?;
        if !digits.is_empty() && fits.any(|other| other.digest != first.digest) {
            return Err(Failure::invalid(
                "digest: several sets begin with it; give more digits",
            ));
        }
        Ok(Arc::clone(first))
    }

    /// The files of a kept set.
    ///
    /// # Errors
    /// A part is missing or damaged, or the store does not answer.
    pub(crate) async fn files(&self, kept: &ActivationRecord) -> Result<Vec<PolicyFile>, Failure> {
        self.0.parts.state.policy_files(kept).await
    }
}

/// Who acts, the same person each time: a process id says nothing of the person.
pub(super) fn person(caller: &Caller) -> String {
    match caller {
        Caller::Local { uid, .. } => format!("uid:{uid}"),
        other => other.to_string(),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(limits::MAX_REASON_BYTES / 4).collect()
}

pub(super) fn from_file(file: PolicyFile) -> SourceFile {
    SourceFile {
        name: file.name,
        text: file.text,
    }
}

fn to_stored(file: &SourceFile) -> PolicyFile {
    PolicyFile {
        name: file.name.clone(),
        text: file.text.clone(),
    }
}

fn from_stored(files: Vec<PolicyFile>) -> Vec<SourceFile> {
    files.into_iter().map(from_file).collect()
}

/// Loads files that were activated once: whatever is wrong with them now is a fault
/// of this server or of its store.
fn load(files: Vec<SourceFile>) -> Result<(Engine, Sources), Failure> {
    let told = |faults: Vec<policy::Fault>| {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        Failure::internal(format!("the active policy set does not validate: {first}"))
    };
    let sources = Sources::from_files(files).map_err(told)?;
    let engine = Engine::load(&sources).map_err(told)?;
    Ok((engine, sources))
}

/// The first digits of a digest, as tokens carry it.
pub(super) fn short(digest: &Digest) -> String {
    digest.short()
}
