//! `bulla fetch …`: the calling process's own identity.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::WORKLOAD_SOCKET;

/// What a process can fetch for itself.
#[derive(Subcommand, Debug)]
pub enum FetchCommand {
    /// Fetch X.509-SVIDs.
    #[command(after_help = "Examples:
  bulla fetch x509
  bulla fetch x509 --write /run/api/tls        chain, key (0600) and bundle as PEM files
  bulla fetch x509 --watch --json              one line for each renewal
  bulla fetch x509 --watch --write /run/web/tls --signal /run/nginx.pid HUP
  bulla fetch x509 --watch --write /run/db/tls --owner postgres --exec 'pg_ctl reload -D /srv/db'")]
    X509 {
        /// Keep the stream open: report each update, or with --write keep the files fresh.
        #[arg(long)]
        watch: bool,
        /// Only this one of the process's identities; files otherwise get the first.
        #[arg(long, value_name = "ID")]
        spiffe_id: Option<String>,
        /// Where to write files, and what to do then.
        #[command(flatten)]
        write: WriteArgs,
        /// The agent to talk to.
        #[command(flatten)]
        agent: FetchArgs,
    },
    /// Fetch JWT-SVIDs.
    #[command(after_help = "Examples:
  bulla fetch jwt --audience payments
  bulla fetch jwt --audience payments --watch --write /run/api/token")]
    Jwt {
        /// Who the token is for; may be given several times.
        #[arg(long, required = true, value_name = "NAME")]
        audience: Vec<String>,
        /// Only for this one of the process's identities.
        #[arg(long, value_name = "ID")]
        spiffe_id: Option<String>,
        /// Print only the token.
        #[arg(long)]
        token_only: bool,
        /// Keep the written token fresh.
        #[arg(long, requires = "write")]
        watch: bool,
        /// Where to write files, and what to do then.
        #[command(flatten)]
        write: WriteArgs,
        /// The agent to talk to.
        #[command(flatten)]
        agent: FetchArgs,
    },
    /// Fetch trust bundles.
    #[command(after_help = "Example:\n  bulla fetch bundle --json")]
    Bundle {
        /// The agent to talk to.
        #[command(flatten)]
        agent: FetchArgs,
    },
}

/// Where to write files, whom they belong to, and what to do after each change.
#[derive(Args, Debug, Clone)]
pub struct WriteArgs {
    /// Write files into this folder: svid.pem, svid-key.pem, svid-with-key.pem and
    /// bundle.pem, or jwt.token.
    #[arg(long, value_name = "FOLDER")]
    pub write: Option<PathBuf>,
    /// Run this shell command after each change.
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "write",
        conflicts_with = "signal"
    )]
    pub exec: Option<String>,
    /// Signal the process named by a pid file after each change.
    #[arg(long, num_args = 2, value_names = ["PIDFILE", "SIGNAL"], requires = "write")]
    pub signal: Vec<String>,
    /// The owner of the files, a name or number; otherwise who runs this.
    #[arg(long, value_name = "USER", requires = "write")]
    pub owner: Option<String>,
    /// The group of the files, a name or number.
    #[arg(long, value_name = "GROUP", requires = "write")]
    pub group: Option<String>,
    /// The mode of keys and tokens: 0600, 0400, 0640 or 0440.
    #[arg(long, value_name = "MODE", default_value = "0600")]
    pub key_mode: String,
    /// Wait this long for further changes before writing, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 200)]
    pub debounce_ms: u64,
    /// How long the command may run, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub exec_timeout: u64,
}

/// How to reach the agent as a workload.
#[derive(Args, Debug, Clone)]
pub struct FetchArgs {
    /// The Workload API socket: a path or unix:///path.
    #[arg(long, env = "SPIFFE_ENDPOINT_SOCKET", default_value = WORKLOAD_SOCKET, value_name = "SOCKET")]
    pub workload_socket: String,
    /// How long to wait for an answer, in seconds.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub timeout: u64,
}
