//! One target's run, in a process of its own.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::chance::Chance;
use crate::corpus;
use crate::mutate::{LONGEST, mutated};
use crate::targets::{self, Target};

/// The argument that tells a process of ours which target it is to run.
pub(crate) const FLAG: &str = "--lane=";

/// The stack of a runtime worker: what overflows here would abort a server.
const STACK_BYTES: usize = 2 << 20;

/// Address space for one target beyond what the program itself maps.
const MEMORY_BYTES: u64 = 3 << 30;

/// Processor time for one input of at most [`LONGEST`] bytes, in a debug build.
const MOST_TIME: Duration = Duration::from_secs(4);

/// Inputs that reached an outcome which no other reached are kept, this many.
const MOST_KEPT: usize = 2_000;

/// How long, and with which random choices.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// How long each target runs.
    pub(crate) time: Duration,
    /// The seed of its random choices.
    pub(crate) seed: u64,
}

/// Runs a target in a process of its own; returns what it tried, or how it failed.
pub(crate) fn start(name: &str, plan: &Plan) -> Result<String, String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg(format!("{FLAG}{name}"))
        .arg(format!("seconds={}", plan.time.as_secs()))
        .arg(format!("seed={}", plan.seed))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(said.trim().to_owned());
    }
    Err(format!(
        "{}; seed={}; the input is in {}\n{}",
        output.status,
        plan.seed,
        corpus::current(name).display(),
        String::from_utf8_lossy(&output.stderr).trim(),
    ))
}

/// Runs a target here, until its time is over. Panics and aborts end the process.
pub(crate) fn run(target: &'static Target, plan: &Plan) {
    setrlimit(Resource::RLIMIT_AS, MEMORY_BYTES, MEMORY_BYTES).unwrap();
    let plan = *plan;
    let lane = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || tried(target, &plan));
    let lane = lane.unwrap().join();
    targets::running::end();
    let Ok(count) = lane else {
        std::process::exit(1);
    };
    let _never_mind = std::fs::remove_file(corpus::current(target.name));
    println!("{count} inputs");
}

fn tried(target: &Target, plan: &Plan) -> u64 {
    let current = File::create(corpus::current(target.name)).unwrap();
    let mut inputs = corpus::kept(target.name);
    inputs.extend((target.seeds)());
    // The empty one also starts what a target needs, before its time runs.
    inputs.push(Vec::new());
    let mut outcomes = HashSet::new();
    for input in &inputs {
        outcomes.insert(attempt(target, &current, input));
    }
    let mut chance = Chance::new(plan.seed);
    let end = spent(ClockId::Boottime) + plan.time;
    let mut count = inputs.len() as u64;
    while spent(ClockId::Boottime) < end {
        let input = match target.generate {
            Some(generate) if chance.one_in(2) => generate(&mut chance),
            _ => mutated(&mut chance, &inputs, target.words),
        };
        count += 1;
        if outcomes.insert(attempt(target, &current, &input)) && inputs.len() < MOST_KEPT {
            inputs.push(input);
        }
    }
    count
}

/// Tries one input, which lies on disk meanwhile; returns how it was judged, with
/// numbers left out, since an outcome that nothing else reached is worth going on from.
fn attempt(target: &Target, current: &File, input: &[u8]) -> String {
    let input = &input[..input.len().min(LONGEST)];
    current.write_all_at(input, 0).unwrap();
    current.set_len(input.len() as u64).unwrap();
    let before = spent(ClockId::ThreadCPUTime);
    let mut outcome = (target.run)(input);
    let took = spent(ClockId::ThreadCPUTime) - before;
    assert!(took < MOST_TIME, "{} bytes took {took:?}", input.len());
    outcome.retain(|c| !c.is_ascii_digit());
    outcome.truncate(outcome.floor_char_boundary(96));
    outcome
}

fn spent(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (time.tv_sec.try_into(), time.tv_nsec.try_into());
    Duration::new(seconds.unwrap(), nanos.unwrap())
}
