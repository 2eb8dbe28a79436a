//! `bulla policy …`.

pub(crate) mod folder;
mod import;
mod offline;

use crate::command::PolicyCommand;
use crate::failure::Failure;
use crate::output::Output;

/// Runs one `bulla policy` command.
///
/// # Errors
/// A check does not hold, or a file cannot be read.
pub(crate) async fn run(command: PolicyCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        PolicyCommand::Validate {
            folder,
            deny_warnings,
            cedar_schema,
        } => offline::validate(&folder, deny_warnings, cedar_schema, out),
        PolicyCommand::Test {
            folder,
            deny_untested,
        } => offline::test(&folder, deny_untested, out),
        PolicyCommand::Import(command) => import::run(&command, out),
    }
}
