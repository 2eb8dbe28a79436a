//! Attacks on workload attestation, as real processes (SECURITY.md, "from a
//! workload").
//!
//! Each attack is first shown to work against a control: a small server that
//! attests as is common, by number and `/proc`. Then it must fail against
//! `agent::process`, round after round, while an honest process is served in
//! each round. An attack that stops working against its control has lost its
//! teeth, and that is a failure too.
//!
//! There is no test harness: the same binary plays the attackers, and a process
//! that is about to change its user or namespace wants no other threads. Each
//! attack runs in a process of its own, as many at once as there are processors.
//! `cargo test --test attacks -- <part of a name> rounds=<number>` runs some.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::zombie_processes,
    reason = "a test says what is wrong by failing"
)]

mod descriptors;
mod exec;
mod mount_namespace;
mod pid_reuse;
mod roles;
mod server;
mod world;

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

/// How often each attack is tried, unless an argument like `rounds=10000` says
/// otherwise.
const ROUNDS: usize = 1_000;

/// An attack, told how many rounds to try.
type Attack = fn(usize);

const ATTACKS: &[(&str, Attack)] = &[
    (
        "exec_after_accept_is_not_the_victims_program",
        exec::exec_after_accept_is_not_the_victims_program,
    ),
    (
        "a_push_does_not_reach_another_program",
        exec::a_push_does_not_reach_another_program,
    ),
    (
        "exec_before_accept_stays_within_one_user",
        exec::exec_before_accept_stays_within_one_user,
    ),
    (
        "setuid_exec_after_connect_is_not_root",
        exec::setuid_exec_after_connect_is_not_root,
    ),
    (
        "dropped_privileges_are_not_kept",
        exec::dropped_privileges_are_not_kept,
    ),
    (
        "a_reused_pid_is_not_the_victim",
        pid_reuse::a_reused_pid_is_not_the_victim,
    ),
    (
        "a_passed_descriptor_dies_with_its_connector",
        descriptors::a_passed_descriptor_dies_with_its_connector,
    ),
    (
        "a_child_does_not_outlive_its_parent",
        descriptors::a_child_does_not_outlive_its_parent,
    ),
    (
        "failing_attestations_leak_no_descriptors",
        descriptors::failing_attestations_leak_no_descriptors,
    ),
    (
        "a_private_mount_gives_no_path",
        mount_namespace::a_private_mount_gives_no_path,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((flag, role)) = arguments.split_first()
        && flag == roles::FLAG
    {
        roles::play(role);
        return ExitCode::SUCCESS;
    }
    bulla_tests::need_root("changes users and namespaces");
    let given = arguments.iter().find_map(|a| a.strip_prefix("rounds="));
    let rounds = given.map_or(ROUNDS, |n| n.parse().expect("a number of rounds"));
    let is_filter = |a: &&String| !a.starts_with('-') && !a.starts_with("rounds=");
    let filters: Vec<&String> = arguments.iter().filter(is_filter).collect();
    let chosen =
        |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str()));
    let mut chosen: Vec<&(&str, Attack)> =
        ATTACKS.iter().filter(|(name, _)| chosen(name)).collect();
    if let [(name, attack)] = chosen.as_slice() {
        attack(rounds);
        println!("attack {name} ... failed {rounds} times, as it must");
        return ExitCode::SUCCESS;
    }
    chosen.reverse();
    run_each(
        Mutex::new(chosen.into_iter().map(|(name, _)| *name).collect()),
        rounds,
    )
}

/// Runs attacks from the end of the list, each in a process of its own.
fn run_each(names: Mutex<Vec<&str>>, rounds: usize) -> ExitCode {
    let lanes = thread::available_parallelism().map_or(1, usize::from);
    let succeeded = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let next = names.lock().unwrap().pop();
                    let Some(name) = next else { break };
                    let mut command = Command::new(std::env::current_exe().unwrap());
                    let status = command.arg(name).arg(format!("rounds={rounds}")).status();
                    let status = status.unwrap();
                    if !status.success() {
                        println!("attack {name} ... SUCCEEDED, or could not be tried: {status}");
                        *succeeded.lock().unwrap() += 1;
                    }
                }
            });
        }
    });
    ExitCode::from(u8::from(succeeded.into_inner().unwrap() > 0))
}
