//! `bulla import …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AdminSocket;

/// From where registrations can be taken over.
#[derive(Subcommand, Debug)]
pub enum ImportCommand {
    /// Take over federated bundles and registration entries of a running SPIRE server.
    ///
    /// Only reads there. Shows first what would be done here, for each bundle and
    /// entry: create, there already, or refuse, with the reason.
    #[command(after_help = "Examples:
  bulla import spire --socket /tmp/spire-server/private/api.sock
  bulla import spire --socket /tmp/spire-server/private/api.sock --yes
  bulla import spire --socket /tmp/spire-server/private/api.sock --plan --json
An import that is repeated creates only what is missing. Exit code 1 after --yes: something was
refused; the rest was created.")]
    Spire(SpireImport),
}

/// What `bulla import spire` is told.
#[derive(Args, Debug)]
pub struct SpireImport {
    /// The SPIRE server's admin socket (its socket_path).
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Only show what would be done; also what happens without --yes.
    #[arg(long, conflicts_with = "yes")]
    pub plan: bool,
    /// Do it.
    #[arg(long)]
    pub yes: bool,
    /// The server to import into.
    #[command(flatten)]
    pub admin: AdminSocket,
}
