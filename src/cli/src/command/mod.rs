//! The command line of `bulla`, as clap reads it: one file per noun.

mod entry;
mod explain;
mod fetch;
mod import;
mod keys;
mod node;
mod policy;
mod revoke;
mod run;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use crate::dev::service::DemoCommand;
pub use entry::{EntryApply, EntryCommand, EntryContents, EntryFilter, EntryLimit, EntryUpdate};
pub use explain::ExplainCommand;
pub use fetch::{FetchArgs, FetchCommand, WriteArgs};
pub use import::{ImportCommand, SpireImport};
pub use keys::{ActArgs, KeyAct, KeysCommand, Profile};
pub use node::{AuditCommand, AuditFilter, BundleCommand, NodeCommand, TokenCommand, TokenCreate};
pub use policy::{
    BreakGlassCommand, GlassArgs, ImportArgs, PolicyApply, PolicyCommand, PolicyImport,
};
pub use revoke::{RevokeArgs, RevokeCommand};
pub use run::{AgentArgs, AgentCommand, AgentOverrides, DevArgs, Part, ServerArgs, ServerCommand};
pub use watch::WatchArgs;

/// Where the server's admin socket is unless told otherwise.
pub const ADMIN_SOCKET: &str = "/run/bulla/server/admin.sock";
/// Where the Workload API socket is unless told otherwise.
pub const WORKLOAD_SOCKET: &str = "/run/bulla/agent/workload.sock";
/// Where the agent's admin socket is unless told otherwise.
pub const AGENT_ADMIN_SOCKET: &str = "/run/bulla/agent/admin.sock";

const AFTER: &str = "\
Exit codes:
  0 done   1 refused, or a check did not hold   2 wrong usage or configuration
  3 server or agent unreachable or not ready    4 no such thing

Examples:
  bulla dev                                 a whole trust domain on this machine, explained as it runs
  bulla entry create --spiffe-id spiffe://example.org/api --parent-id spiffe://example.org/node1 \\
                     --selector unix:uid:1000
  bulla entry list --json
  bulla fetch jwt --audience payments";

/// Bulla gives every service an identity of its own, short-lived and attested.
#[derive(Parser, Debug)]
#[command(name = "bulla", version, after_help = AFTER, max_term_width = 100)]
pub struct Bulla {
    /// Answer in JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The nouns of `bulla`.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start a whole trust domain on this machine and show what it does.
    Dev(DevArgs),
    /// Run the server, or check its configuration.
    Server(ServerArgs),
    /// Run a node agent, or check its configuration.
    Agent(AgentArgs),
    /// Registration entries: which workload gets which SPIFFE ID.
    #[command(subcommand)]
    Entry(EntryCommand),
    /// Attested nodes and their agents.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Join tokens, with which a new agent attests.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Signing keys: who depends on them, what is safe, rotation by hand.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Take back what is valid: a certificate, a token, everything of a SPIFFE ID.
    #[command(subcommand)]
    Revoke(RevokeCommand),
    /// Trust bundles.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Take over what another issuer has registered.
    #[command(subcommand)]
    Import(ImportCommand),
    /// Fetch what the calling process is entitled to, through the Workload API.
    #[command(subcommand)]
    Fetch(FetchCommand),
    /// The tamper-evident record of what was issued, refused and changed.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Permission catalogue and policies: what tokens may do, and who decides it.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Nodes, streams, renewals, refusals and rotations as they happen.
    Watch(WatchArgs),
    /// Why a process has the identity it has, or none; who can have a SPIFFE ID.
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// What each principal may take of each resource of the server, and who is at a bound.
    #[command(
        after_help = "Examples:\n  bulla limits\n  bulla limits --methods\n  bulla limits --json"
    )]
    Limits {
        /// Show instead what one call of each RPC may cost, and who may call it.
        #[arg(long)]
        methods: bool,
        /// How to reach the server.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// The demo services of `bulla dev`.
    #[command(subcommand, hide = true)]
    Demo(DemoCommand),
    /// Ask the server and the agent on this machine whether they can serve now.
    #[command(after_help = "Examples:\n  bulla healthcheck\n  bulla healthcheck --only agent")]
    Healthcheck {
        /// Only this part; otherwise both.
        #[arg(long, value_enum)]
        only: Option<Part>,
        /// The server's admin socket.
        #[command(flatten)]
        admin: AdminSocket,
        /// The agent's admin socket.
        #[arg(long, env = "BULLA_AGENT_ADMIN_SOCKET", default_value = AGENT_ADMIN_SOCKET, value_name = "PATH")]
        agent_admin_socket: PathBuf,
    },
}

/// How to reach the server as an admin.
#[derive(Args, Debug, Clone)]
pub struct AdminSocket {
    /// The server's admin socket.
    #[arg(long = "admin-socket", env = "BULLA_ADMIN_SOCKET", default_value = ADMIN_SOCKET, value_name = "PATH")]
    pub path: PathBuf,
    /// Reach the server over the network instead, as an admin by SPIFFE ID.
    #[arg(long, value_name = "HOST:PORT", requires = "identity")]
    pub server: Option<String>,
    /// The admin's own X.509-SVID for that: a folder that `bulla fetch x509 --write` keeps.
    #[arg(long, value_name = "FOLDER", requires = "server")]
    pub identity: Option<PathBuf>,
}
