//! `bulla explain …`: why a process has the identity it has, or none.

use std::path::PathBuf;

use clap::Subcommand;

use super::{AGENT_ADMIN_SOCKET, AdminSocket, FetchArgs};

/// What can be explained.
#[derive(Subcommand, Debug)]
pub enum ExplainCommand {
    /// Explain a process of this node: what is attested of it, which entries match,
    /// which nearly do. For the node's operator.
    #[command(after_help = "Examples:
  bulla explain pid 4242
  bulla explain pid $(pidof -s nginx) --json
Exit codes: 0 it has an identity   1 it has none   3 no agent   4 no such process")]
    Pid {
        /// The process.
        #[arg(value_name = "PID")]
        pid: u32,
        /// The agent's admin socket.
        #[arg(long, env = "BULLA_AGENT_ADMIN_SOCKET", default_value = AGENT_ADMIN_SOCKET, value_name = "PATH")]
        agent_admin_socket: PathBuf,
    },
    /// Explain this very process, as the agent attests it: what a service's user may see.
    #[command(after_help = "Examples:
  bulla explain me
  sudo -u api bulla explain me --json
Exit codes: 0 it has an identity   1 it has none   3 no agent")]
    Me {
        /// The agent to talk to.
        #[command(flatten)]
        agent: FetchArgs,
    },
    /// Explain a SPIFFE ID: which entries can yield it, on which nodes, and who holds it now.
    /// For an admin of the server.
    #[command(after_help = "Examples:
  bulla explain id spiffe://example.org/api
  bulla explain id spiffe://example.org/api --json
Exit codes: 0 a node can yield it   1 an entry could, but no node can now   3 no server
            4 no entry gives it")]
    Id {
        /// The SPIFFE ID.
        #[arg(value_name = "SPIFFE-ID")]
        id: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Explain a scoped token: the decision it was minted by. For an admin of the server.
    #[command(after_help = "Example:\n  bulla explain token 5f0c…\n  (the token's jti, 32 digits)")]
    Token {
        /// The token's jti.
        #[arg(value_name = "JTI")]
        jti: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Explain a decision, granted or refused, by its id. For an admin of the server.
    #[command(after_help = "Example:\n  bulla explain decision dec_0193…")]
    Decision {
        /// The decision's id, as answers and refusals name it.
        #[arg(value_name = "ID")]
        id: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Show which registered workloads can have a permission as policies stand.
    #[command(after_help = "Example:\n  bulla explain who-can payments:refund.create payments")]
    WhoCan {
        /// The permission.
        permission: String,
        /// The service's audience.
        audience: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Show what a registered workload can have as policies stand.
    #[command(after_help = "Example:\n  bulla explain what-can spiffe://example.org/checkout")]
    WhatCan {
        /// The workload.
        #[arg(value_name = "SPIFFE-ID")]
        id: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
}
