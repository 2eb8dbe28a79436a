//! Fuzzing of every parser that bytes from outside can reach: what strangers,
//! workloads, nodes and downstream servers send, and what people upload as files.
//!
//! Each target runs in a process of its own, on a thread with the stack of a
//! runtime worker and with little memory, so that a stack overflow, an abort or
//! an allocation by a sender's number ends that process and is reported with the
//! input that did it. An input that takes too much processor time is a failure
//! as well. Failing inputs are written to `target/fuzz/`; move one to
//! `tests/corpus/fuzz/<target>/` and it is tried first in every later run.
//!
//! `cargo test -p bulla-tests --test fuzz` runs each target for a moment.
//! `cargo test -p bulla-tests --test fuzz -- seconds=3600 policies` runs one for
//! an hour; `seed=7` repeats a run's random choices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by failing"
)]

mod chance;
mod completeness;
mod corpus;
mod lane;
mod mutate;
mod targets;
mod wire;

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use lane::Plan;

/// How long each target runs unless an argument like `seconds=3600` says otherwise.
const MOMENT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = Plan {
        time: number(&arguments, "seconds=").map_or(MOMENT, Duration::from_secs),
        seed: number(&arguments, "seed=").unwrap_or(1),
    };
    if let Some(name) = arguments.iter().find_map(|a| a.strip_prefix(lane::FLAG)) {
        lane::run(targets::named(name), &plan);
        return ExitCode::SUCCESS;
    }
    completeness::every_file_that_parses_has_a_target();
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|a| !a.starts_with('-') && !a.contains('='))
        .collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(*f));
    let mut names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
    names.retain(|name| chosen(name));
    names.reverse();
    run_each(&Mutex::new(names), &plan)
}

fn number(arguments: &[String], key: &str) -> Option<u64> {
    let given = arguments.iter().find_map(|a| a.strip_prefix(key))?;
    Some(given.parse().expect("a number"))
}

/// Runs targets from the end of the list, as many at once as there are processors.
fn run_each(names: &Mutex<Vec<&str>>, plan: &Plan) -> ExitCode {
    let lanes = thread::available_parallelism().map_or(1, usize::from);
    let (passed, failed) = (Mutex::new(0_u32), Mutex::new(0_u32));
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let next = names.lock().unwrap().pop();
                    let Some(name) = next else { break };
                    let outcome = lane::start(name, plan);
                    match outcome {
                        Ok(summary) => {
                            println!("fuzz {name} ... ok ({summary})");
                            *passed.lock().unwrap() += 1;
                        }
                        Err(why) => {
                            println!("fuzz {name} ... FAILED\n{why}");
                            *failed.lock().unwrap() += 1;
                        }
                    }
                }
            });
        }
    });
    let (passed, failed) = (passed.into_inner().unwrap(), failed.into_inner().unwrap());
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}
