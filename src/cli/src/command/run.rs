//! `bulla server`, `bulla agent` and `bulla dev`: what runs processes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// A part of the system that can be asked for its health.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The issuer.
    Server,
    /// The node agent.
    Agent,
}

/// `bulla server`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  bulla server --config /etc/bulla/server.toml\n  bulla server validate --config server.toml\n  bulla server seal-keys --config server.toml"
)]
pub struct ServerArgs {
    /// Something other than running it.
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
    /// The configuration file.
    #[arg(long, default_value = "/etc/bulla/server.toml", value_name = "FILE")]
    pub config: PathBuf,
}

/// What else can be done with a server's configuration.
#[derive(Subcommand, Debug)]
pub enum ServerCommand {
    /// Check a configuration file and say what would run.
    Validate {
        /// The configuration file.
        #[arg(long, default_value = "/etc/bulla/server.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Seal the signing keys of a stopped server that were kept unsealed.
    #[command(after_help = "Example:
  systemctl stop bulla-server
  bulla server seal-keys --config /etc/bulla/server.toml
  systemctl start bulla-server && bulla keys rotate --all

Name keys.passphrase_file or keys.credential in the configuration first. After a crash, run it again.
The old files are gone, but not from backups or worn blocks of the disk: rotate the keys soon.")]
    SealKeys {
        /// The configuration file.
        #[arg(long, default_value = "/etc/bulla/server.toml", value_name = "FILE")]
        config: PathBuf,
    },
}

/// `bulla agent`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  bulla agent --config /etc/bulla/agent.toml
  bulla agent validate --config agent.toml
A new agent needs a join token in BULLA_JOIN_TOKEN and a pin of the server's bundle:
  bulla token create      prints the whole command"
)]
pub struct AgentArgs {
    /// Something other than running it.
    #[command(subcommand)]
    pub command: Option<AgentCommand>,
    /// The configuration file; what is given below overrides it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Settings that may be given without a file.
    #[command(flatten)]
    pub overrides: AgentOverrides,
}

/// The settings that `bulla token create` prints.
#[derive(Args, Debug, Default)]
pub struct AgentOverrides {
    /// The server's address, host:port.
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// The trust domain.
    #[arg(long, value_name = "NAME")]
    pub trust_domain: Option<String>,
    /// SHA-256 of an X.509 authority of the server's bundle, in hex.
    #[arg(long, value_name = "HEX")]
    pub bundle_sha256: Vec<String>,
    /// Where the agent keeps its state.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Where to serve the Workload API.
    #[arg(long, value_name = "PATH")]
    pub workload_socket: Option<PathBuf>,
    /// Where to serve the agent's admin socket.
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
}

/// What else can be done with an agent's configuration.
#[derive(Subcommand, Debug)]
pub enum AgentCommand {
    /// Check a configuration file and say what would run.
    Validate {
        /// The configuration file.
        #[arg(long, default_value = "/etc/bulla/agent.toml", value_name = "FILE")]
        config: PathBuf,
    },
}

/// `bulla dev`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bulla dev                 the tour, then a trust domain that stays up until Ctrl-C
  bulla dev --once          the tour alone; exits with 1 when a step did not hold
  bulla dev --dir /tmp/td   keep the trust domain in a folder of your choice")]
pub struct DevArgs {
    /// Exit after the tour.
    #[arg(long)]
    pub once: bool,
    /// The folder for the trust domain; emptied first when it was made by `bulla dev`.
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}
