//! The command line of Bulla: everything an admin, a node operator or a service
//! developer types. Floor 4.
//!
//! A thin shell: one file for each noun turns arguments into calls and answers
//! into tables or JSON; [`dev`] composes them into a tour of the whole product.

mod admin;
mod audit;
mod bundle;
mod clock;
pub mod command;
pub mod dev;
mod entry;
mod explain;
pub mod failure;
mod fetch;
mod files;
mod health;
mod hook;
mod import;
mod keys;
mod limits;
mod local_http;
mod logging;
mod network;
mod node;
pub mod output;
mod parts;
mod pem;
mod policy;
mod revoke;
mod watch;
mod wire;
mod workload_client;

use clap::Parser as _;
use command::{Bulla, Command};
use failure::Failure;
use output::Output;
use std::process::ExitCode;

pub use parts::agent_only;

/// Runs `bulla` with the process's arguments and answers with its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let bulla = Bulla::parse();
    finish(parts::run(bulla.command, &mut Output::stdout(bulla.json)))
}

/// Reports a failure, if there is one, and gives the exit code.
#[must_use]
pub fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logging::report(&failure);
            failure.code()
        }
    }
}

/// Runs a command that only talks to servers and agents.
async fn talk(command: Command, out: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Entry(command) => entry::run(command, out).await,
        Command::Node(command) => node::run(command, out).await,
        Command::Token(command) => node::token(command, out).await,
        Command::Keys(command) => keys::run(command, out).await,
        Command::Revoke(command) => revoke::run(command, out).await,
        Command::Bundle(command) => bundle::run(command, out).await,
        Command::Import(command) => import::run(command, out).await,
        Command::Fetch(command) => fetch::run(command, out).await,
        Command::Audit(command) => audit::run(command, out).await,
        Command::Watch(args) => watch::run(args, out).await,
        Command::Limits { methods, admin } => limits::run(methods, &admin, out).await,
        Command::Explain(command) => explain::run(command, out).await,
        Command::Policy(command) => policy::run(command, out).await,
        Command::Demo(command) => dev::service::run(command, out).await,
        Command::Healthcheck {
            only,
            admin,
            agent_admin_socket,
        } => health::run(only, &admin.path, &agent_admin_socket, out).await,
        Command::Dev(_) | Command::Server(_) | Command::Agent(_) => {
            Err(Failure::usage("this command runs a process of its own"))
        }
    }
}
