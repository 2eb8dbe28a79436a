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
  bulla fetch x509 --watch --json              one line for each renewal")]
    X509 {
        /// Write svid.pem, svid-key.pem and bundle.pem into this folder.
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
        /// Keep the stream open and report each update.
        #[arg(long)]
        watch: bool,
        /// The agent to talk to.
        #[command(flatten)]
        agent: FetchArgs,
    },
    /// Fetch JWT-SVIDs.
    #[command(after_help = "Example:\n  bulla fetch jwt --audience payments")]
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
