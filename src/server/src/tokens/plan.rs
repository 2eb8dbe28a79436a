//! What activating a policy set would change: its faults, its tests, its files, and
//! who would gain or lose what.

use std::collections::BTreeMap;

use identity::TrustDomain;
use pdp::{Access, Engine, TrialReport, difference};
use policy::{Fault, Severity, SourceFile, Sources};

use super::Tokens;
use crate::failure::Failure;
use crate::limits;

/// A policy set that somebody proposes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proposal {
    /// The files of the policy folder.
    pub(crate) files: Vec<SourceFile>,
    /// The set the proposer saw active; `none` when none was; empty does not care.
    pub(crate) expected: String,
    /// Why.
    pub(crate) comment: String,
}

/// What activating would change.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyPlan {
    /// The set's digest; empty when it cannot be read.
    pub(crate) digest: String,
    /// The active set's; empty when none is.
    pub(crate) active: String,
    pub(crate) faults: Vec<Fault>,
    pub(crate) tests_passed: usize,
    pub(crate) tests_failed: Vec<String>,
    /// Files that differ: `+ name`, `- name`, `~ name`.
    pub(crate) files: Vec<String>,
    pub(crate) gained: Vec<Access>,
    pub(crate) lost: Vec<Access>,
    /// Workloads beyond those that were looked at.
    pub(crate) unexamined: usize,
}

impl PolicyPlan {
    /// Whether nothing is against activating.
    #[must_use]
    pub(crate) fn activatable(&self) -> bool {
        !self.digest.is_empty()
            && self.tests_failed.is_empty()
            && !self.faults.iter().any(Fault::is_error)
    }
}

impl Tokens {
    /// Validates a policy set, runs its tests and compares it with the active one.
    ///
    /// # Errors
    /// It could not be looked at. What is wrong with it is an answer.
    pub(crate) async fn plan(&self, files: Vec<SourceFile>) -> Result<PolicyPlan, Failure> {
        Ok(self.plan_files(files, Mistakes::Refuse).await?.0)
    }

    /// The plan, and the loaded set when it can be activated.
    pub(super) async fn plan_files(
        &self,
        files: Vec<SourceFile>,
        mistakes: Mistakes,
    ) -> Result<(PolicyPlan, Option<(Engine, Sources)>), Failure> {
        let bytes: usize = files.iter().map(|f| f.name.len() + f.text.len()).sum();
        if bytes > limits::MAX_POLICY_BYTES {
            let most = limits::MAX_POLICY_BYTES;
            return Err(Failure::invalid(format!(
                "the files have {bytes} bytes; at most {most}"
            )));
        }
        let active = self.active();
        let candidates = self.candidates();
        let unexamined = self.beyond_candidates();
        let context = self.supposed();
        let own = self.0.parts.state.trust_domain().clone();
        let planned = tokio::task::spawn_blocking(move || {
            let mut plan = PolicyPlan {
                unexamined,
                ..PolicyPlan::default()
            };
            let nothing = Sources::default();
            let held = active.as_deref();
            let old_sources = held.map_or(&nothing, |active| &active.sources);
            plan.active = held.map_or_else(String::new, |a| a.activation.digest.clone());
            let loaded = Sources::from_files(files).and_then(|sources| {
                let engine = Engine::load(&sources)?;
                Ok((engine, sources))
            });
            let (engine, sources) = match loaded {
                Ok(loaded) => loaded,
                Err(faults) => {
                    plan.faults = faults;
                    return (plan, None);
                }
            };
            plan.digest = engine.digest().to_string();
            plan.faults = mistakes.of(&engine, &own);
            plan.files = changed_files(old_sources, &sources);
            tests(&mut plan, engine.run_tests());
            // Before the first set nobody had anything.
            let catalogue = Sources {
                catalogue: sources.catalogue.clone(),
                ..Sources::default()
            };
            let empty = || Engine::load(&catalogue).ok();
            if let Some(old) = held.map(|active| active.engine.clone()).or_else(empty) {
                let found = difference(&old, &engine, &candidates, &context);
                (plan.gained, plan.lost) = (found.allowed, found.denied);
            }
            let loaded = plan.activatable().then_some((engine, sources));
            (plan, loaded)
        });
        planned.await.map_err(Failure::internal)
    }
}

/// What becomes of policies that are valid and cannot be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistakes {
    /// They keep a set from being activated.
    Refuse,
    /// They are told: the set was active before, and an incident does not wait.
    Tell,
}

impl Mistakes {
    /// Everything a reviewer should look at.
    fn of(self, engine: &Engine, own: &TrustDomain) -> Vec<Fault> {
        let mut faults = engine.mistakes().to_vec();
        faults.extend(engine.foreign(own));
        if self == Self::Tell {
            for fault in &mut faults {
                fault.severity = Severity::Warning;
            }
        }
        faults.extend(engine.warnings().iter().cloned());
        faults
    }
}

fn tests(plan: &mut PolicyPlan, report: TrialReport) {
    for trial in report.trials {
        match trial.failure {
            None => plan.tests_passed += 1,
            Some(failure) => plan.tests_failed.push(format!("{}: {failure}", trial.name)),
        }
    }
    plan.tests_failed
        .extend(report.faults.iter().map(ToString::to_string));
}

fn changed_files(old: &Sources, new: &Sources) -> Vec<String> {
    let map = |sources: &Sources| -> BTreeMap<String, String> {
        let files = sources.files();
        files.map(|f| (f.name.clone(), f.text.clone())).collect()
    };
    let (old, new) = (map(old), map(new));
    let mut lines: Vec<String> = Vec::new();
    for (name, text) in &new {
        match old.get(name) {
            None => lines.push(format!("+ {name}")),
            Some(before) if before != text => lines.push(format!("~ {name}")),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    lines.extend(gone.map(|name| format!("- {name}")));
    lines
}
