//! What is measured, and what it is held to.

use std::time::Duration;

use bulla_tests::{Domain, resident_kib};

/// Beside an attacker an honest call may take so many times what it takes alone.
const TIMES: u32 = 5;

/// Below this a 99th percentile is not judged: on a machine of two processors that
/// runs server, agent, attacker and honest callers, the kernel's turns take as long.
const NOT_JUDGED_BELOW: Duration = Duration::from_millis(400);

/// What server and agent may hold, KiB, in a debug build.
const MOST_KIB: [usize; 2] = [400 << 10, 300 << 10];

/// By how much the journal may grow in one second beside an attacker, bytes: what
/// the budgets of one caller of each kind come to, and what the honest ones cause.
const JOURNAL_EACH_SECOND: u64 = 400 << 10;

/// The columns of [`line`].
pub(crate) const HEADING: &str = "attacker        caller         alone p99   beside p99   calls  failed   server KiB  agent KiB  journal B/s";

/// The times that the calls of one honest caller took, and those that failed.
#[derive(Default, Clone)]
pub(crate) struct Times {
    pub(crate) took: Vec<Duration>,
    pub(crate) failures: Vec<String>,
}

impl Times {
    /// The 99th percentile.
    pub(crate) fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort();
        let at = (took.len() * 99 / 100).min(took.len().saturating_sub(1));
        took.get(at).copied().unwrap_or_default()
    }
}

/// What the processes hold and have written.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) kib: [usize; 2],
    pub(crate) journal: u64,
}

impl Held {
    pub(crate) fn now(domain: &Domain) -> Self {
        let resident = |process: &Option<bulla_tests::Process>| {
            let pid = process.as_ref().map(bulla_tests::Process::pid);
            // One that has ended is told of elsewhere.
            let lives = |pid: &u32| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
                status.is_ok_and(|status| status.contains("VmRSS:"))
            };
            pid.filter(lives).map_or(0, resident_kib)
        };
        Self {
            kib: [resident(&domain.server), resident(&domain.agent)],
            journal: bytes_in(&domain.path("server/data/journal")),
        }
    }
}

/// What records hold, without the space that is reserved for later ones.
fn bytes_in(folder: &std::path::Path) -> u64 {
    let records = journal::read(folder, 0).into_iter().flatten();
    records
        .flatten()
        .map(|record| record.payload.len() as u64)
        .sum()
}

/// One line of the table.
pub(crate) fn line(attacker: &str, caller: &str, (alone, beside): (&Times, &Times), held: Held) {
    println!(
        "{attacker:<15} {caller:<13} {:>8.1} ms {:>9.1} ms {:>7} {:>7} {:>12} {:>10} {:>12}",
        alone.p99().as_secs_f64() * 1e3,
        beside.p99().as_secs_f64() * 1e3,
        beside.took.len(),
        beside.failures.len(),
        held.kib[0],
        held.kib[1],
        held.journal,
    );
}

/// What is wrong with one honest caller's times.
pub(crate) fn faults(caller: &str, alone: &Times, beside: &Times) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(first) = beside.failures.first() {
        let count = beside.failures.len();
        faults.push(format!(
            "{count} calls of the {caller} failed, the first: {first}"
        ));
    }
    if beside.took.is_empty() {
        faults.push(format!("no call of the {caller} was answered"));
    }
    let most = (alone.p99() * TIMES).max(NOT_JUDGED_BELOW);
    if beside.p99() > most {
        faults.push(format!(
            "the {caller}'s p99 is {:?}; alone it is {:?}",
            beside.p99(),
            alone.p99()
        ));
    }
    faults
}

/// What is wrong with what the processes hold; `journal` is its growth each second.
pub(crate) fn held_faults(held: Held) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, (kib, most)) in ["server", "agent"]
        .iter()
        .zip(held.kib.iter().zip(MOST_KIB))
    {
        if *kib > most {
            faults.push(format!("the {name} holds {kib} KiB; at most {most}"));
        }
    }
    if held.journal > JOURNAL_EACH_SECOND {
        faults.push(format!(
            "the journal grows by {} bytes a second",
            held.journal
        ));
    }
    faults
}
