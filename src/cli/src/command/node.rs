//! `bulla node …`, `bulla token …`, `bulla bundle …` and `bulla audit …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AdminSocket;
use super::span::seconds;

/// What can be done to attested nodes.
#[derive(Subcommand, Debug)]
pub enum NodeCommand {
    /// List attested nodes.
    #[command(after_help = "Examples:\n  bulla node list\n  bulla node list --banned --json")]
    List {
        /// Only banned nodes.
        #[arg(long)]
        banned: bool,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Show one node.
    #[command(after_help = "Examples:\n  bulla node show node1\n  bulla node show 4f01ab")]
    Show {
        /// The agent: an alias, its host's name, or the beginning of its ID or all of it.
        id: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Ban a node: its agent loses everything at once and cannot attest again until evicted.
    #[command(after_help = "Examples:
  bulla node ban node1
  bulla node ban spiffe://example.org/spire/agent/join_token/4f…")]
    Ban {
        /// The agent: an alias, its host's name, or the beginning of its ID or all of it.
        id: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Evict a node: its agent must attest again; lifts a ban.
    #[command(after_help = "Examples:
  bulla node evict node1
  bulla node evict spiffe://example.org/spire/agent/join_token/4f…")]
    Evict {
        /// The agent: an alias, its host's name, or the beginning of its ID or all of it.
        id: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
}

/// What can be done with join tokens.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Create a join token and print the complete command that starts an agent with it.
    #[command(after_help = "Examples:
  bulla token create --spiffe-id spiffe://example.org/node1
  bulla token create --ttl 3600 --json

The printed command carries the token in an environment variable, never in the argument list,
and pins the server's current trust bundle.")]
    Create(TokenCreate),
}

/// What a new join token is for.
#[derive(Args, Debug)]
pub struct TokenCreate {
    /// How long the token may be used, in seconds or such as 10m.
    #[arg(long, default_value = "600", value_name = "SPAN", value_parser = seconds)]
    pub ttl: i32,
    /// A second, readable SPIFFE ID for the node, to hang entries under.
    #[arg(long, value_name = "ID")]
    pub spiffe_id: Option<String>,
    /// The server to talk to.
    #[command(flatten)]
    pub admin: AdminSocket,
}

/// What can be done with bundles.
#[derive(Subcommand, Debug)]
pub enum BundleCommand {
    /// Show the trust domain's bundle.
    #[command(after_help = "Examples:
  bulla bundle show
  bulla bundle show --format pem > ca.pem
  bulla bundle show --format spiffe
  bulla bundle show --owners")]
    Show {
        /// text: a summary; pem: the X.509 authorities; spiffe: the SPIFFE bundle document.
        #[arg(long, default_value = "text", value_parser = ["text", "pem", "spiffe"])]
        format: String,
        /// Show who brought each authority, since when, until when and why; those of
        /// federated bundles too.
        #[arg(long, conflicts_with = "format")]
        owners: bool,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Add authorities to the trust domain's own bundle: their holder can then issue
    /// any identity in it. For two servers of one trust domain, side by side.
    #[command(after_help = "Examples:
  bulla bundle append spire.json
  bulla bundle append bulla.json --admin-socket /tmp/spire-server/private/api.sock
The second adds to a SPIRE server's bundle, for which SPIRE's own command line has no command.")]
    Append {
        /// PEM certificates or a SPIFFE bundle document.
        file: PathBuf,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Take an authority out of the trust domain's own bundle that somebody brought: an
    /// administrator or a downstream server. The server's own keys are revoked instead.
    #[command(after_help = "Examples:
  bulla bundle show --owners
  bulla bundle remove 8f3a... --plan
  bulla bundle remove 8f3a...")]
    Remove {
        /// Subject key ID or SHA-256 of an X.509 authority, or the key ID of a JWT key.
        id: String,
        /// Only say what would be removed.
        #[arg(long)]
        plan: bool,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Set the bundle of a federated trust domain, replacing what was there.
    #[command(after_help = "Example:
  bulla bundle set other.example other.json
  bulla entry update ID --federates-with other.example")]
    Set {
        /// The trust domain.
        trust_domain: String,
        /// PEM certificates or a SPIFFE bundle document.
        file: PathBuf,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// List the federated trust domains.
    #[command(after_help = "Example:
  bulla bundle list")]
    List {
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Delete the bundle of a federated trust domain.
    #[command(after_help = "Examples:
  bulla bundle delete other.example
  bulla bundle delete other.example --dissociate")]
    Delete {
        /// The trust domain.
        trust_domain: String,
        /// Let entries no longer federate with it, instead of refusing while any does.
        #[arg(long)]
        dissociate: bool,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
}

/// What can be asked of the audit journal.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// List records, newest last.
    #[command(after_help = "Examples:
  bulla audit list --last 20
  bulla audit list --refused
  bulla audit list --for spiffe://example.org/api --json")]
    List {
        /// Which records.
        #[command(flatten)]
        filter: AuditFilter,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Show one record.
    #[command(after_help = "Example:\n  bulla audit show 42")]
    Show {
        /// The record's sequence number.
        seq: u64,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Copy segments that are no longer written to a folder, and verify each copy.
    #[command(after_help = "Examples:
  bulla audit archive --to /mnt/archive
  bulla audit archive --to /mnt/archive --remove
Run it on the server's machine; the server may be running. An interrupted run is gone on with
by the next. What is archived is removed when its time is over, or at once with --remove.")]
    Archive {
        /// Where the copies go.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        /// The journal's folder.
        #[arg(
            long,
            value_name = "FOLDER",
            default_value = "/var/lib/bulla/server/journal"
        )]
        dir: PathBuf,
        /// Remove from the journal what is archived.
        #[arg(long)]
        remove: bool,
    },
    /// Write records as JSON lines, oldest first: for archives and other systems.
    #[command(after_help = "Examples:
  bulla audit export > audit.jsonl
  bulla audit export --from-seq 812 --kind decision
  bulla audit export --follow
Each line carries the record's hash and that of the record before; a decision's own JSON is
the member `decision`.")]
    Export {
        /// The first sequence number.
        #[arg(long, default_value_t = 0, value_name = "N")]
        from_seq: u64,
        /// Only this kind, such as decision.
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// Stay and write new records as they come.
        #[arg(long)]
        follow: bool,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Check the hash chain: of the running server, or offline of a journal folder.
    #[command(after_help = "Examples:
  bulla audit verify
  bulla audit verify --dir /var/lib/bulla/server/journal --seq 812 --hash 3f9c…
  bulla audit verify --archive /mnt/archive --dir /var/lib/bulla/server/journal
A sequence number and hash that were kept elsewhere also reveal a cut tail.")]
    Verify {
        /// A journal folder to check without a server.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
        /// A folder with archived segments, checked first; the journal must go on from it.
        #[arg(long, value_name = "FOLDER")]
        archive: Option<PathBuf>,
        /// The sequence number of a head that was kept elsewhere.
        #[arg(long, requires = "hash")]
        seq: Option<u64>,
        /// The hash of that head, in hex.
        #[arg(long, requires = "seq")]
        hash: Option<String>,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
}

/// Which audit records to list.
#[derive(Args, Debug, Default)]
pub struct AuditFilter {
    /// Only the last N records that match.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub last: u32,
    /// Only records about this SPIFFE ID.
    #[arg(long = "for", value_name = "ID")]
    pub for_whom: Option<String>,
    /// Only this kind, such as issue_x509 or attest.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only refusals.
    #[arg(long)]
    pub refused: bool,
}
