//! What an admin is told of any process of the node.

use std::sync::Arc;

use contract::{ProcessError, Strength};
use identity::{Entry, Selectors};
use serde_json::{Value, json};
use workload::{NearMiss, Obstacle, near_misses};

use super::{Explanation, texts};
use crate::process::AttestError;
use crate::workload_api::WorkloadApi;

/// Near misses that are listed.
const NEAR_MISSES: usize = 10;

/// Why nothing can be said of a process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unexplained {
    /// There is none of that number.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// It cannot be looked at.
    #[error("process {0} cannot be looked at: {1}")]
    Hidden(u32, ProcessError),
}

/// Attests the process of that number by the code that attests callers, and says
/// what came of it. `strength` is that of a connection on this kernel.
pub(crate) async fn explain(
    api: &Arc<WorkloadApi>,
    pid: u32,
    strength: Strength,
) -> Result<Value, Unexplained> {
    let caller = api
        .host
        .numbered(pid, strength)
        .map_err(|error| match error {
            ProcessError::Gone => Unexplained::NoProcess(pid),
            error => Unexplained::Hidden(pid, error),
        })?;
    let mut said = match caller.attest(&api.attestors).await {
        Err(AttestError::Process(ProcessError::Gone)) => return Err(Unexplained::NoProcess(pid)),
        Err(error) => {
            let mut said = Explanation::process(caller.peer());
            said.add("attested", false);
            said.add("verdict", format!("this process is not attested: {error}"));
            said
        }
        Ok(attested) => {
            let matched = api.core.hub.matching(&attested.caller());
            let entries = matched.unwrap_or_default();
            let mut said = Explanation::of(api, caller.peer(), &attested, &entries);
            near(api, &mut said, &entries, &attested.selectors).await;
            said
        }
    };
    said.surroundings(&api.core);
    Ok(said.into_value())
}

/// Adds the near misses, counted off the event loop: an agent may hold 100,000
/// entries.
async fn near(
    api: &WorkloadApi,
    said: &mut Explanation,
    matched: &[Arc<Entry>],
    selectors: &Selectors,
) {
    let (entries, now) = (api.core.hub.entries(), api.core.now());
    let (matched, selectors) = (matched.to_vec(), selectors.clone());
    let work = move || near_misses(&entries, &matched, &selectors, now, NEAR_MISSES);
    let near = tokio::task::spawn_blocking(work).await.unwrap_or_default();
    let rows: Vec<Value> = near.list.iter().map(row).collect();
    said.add("near_misses", rows);
    said.add("near_misses_left_out", near.left_out);
}

fn row(miss: &NearMiss) -> Value {
    let (why, missing) = match &miss.why {
        Obstacle::Lacks(lacks) => {
            let missing = lacks.iter().map(|lack| {
                let has: Vec<String> = lack.instead.iter().map(ToString::to_string).collect();
                json!({ "selector": lack.wanted.to_string(), "process_has": has })
            });
            let why = "the process lacks selectors".to_owned();
            (why, missing.collect())
        }
        Obstacle::Expired(at) => (format!("the entry expired at {}", at.0), Vec::new()),
        Obstacle::StoredElsewhere => ("its SVID is for an external store".to_owned(), Vec::new()),
        Obstacle::HintTaken(by) => (
            format!("entry {by} has the same hint and comes first"),
            Vec::new(),
        ),
    };
    json!({
        "entry_id": miss.entry.id.to_string(),
        "spiffe_id": miss.entry.spiffe_id.to_string(),
        "selectors": texts(&miss.entry.selectors),
        "why": why,
        "missing": missing,
    })
}
