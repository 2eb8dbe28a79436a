//! One attacker for each kind of caller, which spends everything it may on
//! everything it may reach, while a workload, a node that attests and an
//! administrator go on with their work.
//!
//! For each attacker the honest callers are measured alone, then beside it. None
//! of their calls may fail; their 99th percentiles, the memory of server and
//! agent and the growth of the journal must stay within bounds. The attackers
//! run as processes of this binary at the lowest priority, so that what is
//! measured is what the server and the agent grant them, and not which of several
//! processes the kernel prefers.
//!
//! `cargo test -p bulla-tests --test pressure -- [part of a name] [seconds=8]`;
//! `mix` runs all attackers at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by failing, and measures by the clock"
)]

mod attackers;
mod bounds;
mod honest;
mod stage;

use std::process::ExitCode;
use std::time::Duration;

use stage::Stage;

/// How long the honest callers are measured, alone and then beside an attacker.
const SPAN: Duration = Duration::from_secs(8);

/// The argument of a process that attacks.
const FLAG: &str = "--attack=";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = arguments.iter().find_map(|a| a.strip_prefix(FLAG)) {
        attackers::attack(role, &arguments[1..]);
        return ExitCode::SUCCESS;
    }
    bulla_tests::need_root("starts processes of another user");
    let seconds = arguments.iter().find_map(|a| a.strip_prefix("seconds="));
    let span = seconds.map_or(SPAN, |n| Duration::from_secs(n.parse().unwrap()));
    let is_filter = |a: &&String| !a.starts_with('-') && !a.contains('=');
    let filters: Vec<&String> = arguments.iter().filter(is_filter).collect();
    if filters.iter().any(|filter| *filter == "mix") {
        return verdict(
            u32::from(!Stage::set().judge("mix", attackers::NAMES, span)),
            1,
        );
    }
    let chosen = |name: &&&str| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let chosen: Vec<&str> = attackers::NAMES.iter().filter(chosen).copied().collect();
    let mut failed = 0;
    println!("{}", bounds::HEADING);
    for name in &chosen {
        // A domain of its own each, so that nothing an attacker leaves behind is another's.
        failed += u32::from(!Stage::set().judge(name, &[name], span));
    }
    verdict(failed, u32::try_from(chosen.len()).unwrap())
}

fn verdict(failed: u32, of: u32) -> ExitCode {
    println!("{} passed, {failed} failed", of - failed);
    ExitCode::from(u8::from(failed > 0))
}
