//! `bulla watch`: what happens, as it happens.

use std::path::PathBuf;

use clap::Args;

use super::{AGENT_ADMIN_SOCKET, AdminSocket};

/// `bulla watch`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bulla watch                 a picture of the terminal's size, until q or Ctrl-C
  bulla watch --once          one such picture
  bulla watch | tee events    text, a line for each event
  bulla watch --json          JSON, a line for each event; the members are in docs/watch.md

When the server goes away it is waited for, and nothing that it records meanwhile is left out.
On a node, the agent that answers on its admin socket is shown, too.")]
pub struct WatchArgs {
    /// Show one picture and exit.
    #[arg(long)]
    pub once: bool,
    /// The server to talk to.
    #[command(flatten)]
    pub admin: AdminSocket,
    /// The admin socket of this node's agent; left out when nobody listens there.
    #[arg(long, env = "BULLA_AGENT_ADMIN_SOCKET", default_value = AGENT_ADMIN_SOCKET, value_name = "PATH")]
    pub agent_admin_socket: PathBuf,
}
