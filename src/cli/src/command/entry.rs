//! `bulla entry …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AdminSocket;
use super::span::{seconds, some_seconds};

/// What can be done to registration entries.
#[derive(Subcommand, Debug)]
pub enum EntryCommand {
    /// Create an entry.
    #[command(after_help = "Examples:
  bulla entry create --spiffe-id spiffe://example.org/api --parent-id spiffe://example.org/node1 \\
                     --selector unix:uid:1000 --selector unix:path:/usr/bin/api
  bulla entry create --spiffe-id spiffe://example.org/db --parent-id spiffe://example.org/node1 \\
                     --selector unix:user:postgres --x509-ttl 3600 --dns-name db.example.org")]
    Create {
        /// What the entry says.
        #[command(flatten)]
        contents: EntryContents,
        /// The entry's own id; a random one otherwise.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Show one entry.
    #[command(after_help = "Example:\n  bulla entry show 5d1f6a2e-0b7c-4b7a-9f43-0a1b2c3d4e5f")]
    Show {
        /// The entry's id.
        id: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// List entries, all or those that match.
    #[command(after_help = "Examples:
  bulla entry list
  bulla entry list --parent-id spiffe://example.org/node1 --json
  bulla entry list --selector unix:uid:1000
  bulla entry list --prefix spiffe://example.org/payments/ --limit 20")]
    List {
        /// Which entries.
        #[command(flatten)]
        filter: EntryFilter,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Change an entry; what is not named stays as it is.
    #[command(after_help = "Example:
  bulla entry update 5d1f6a2e-0b7c-4b7a-9f43-0a1b2c3d4e5f --x509-ttl 600")]
    Update {
        /// The entry's id.
        id: String,
        /// What to change.
        #[command(flatten)]
        change: EntryUpdate,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Limit what tokens an entry's workloads can have, whatever policies say.
    #[command(after_help = "Examples:
  bulla entry limit 5d1f6a2e-0b7c-4b7a-9f43-0a1b2c3d4e5f --audience payments --max-ttl 120
  bulla entry limit 5d1f6a2e-0b7c-4b7a-9f43-0a1b2c3d4e5f --clear")]
    Limit {
        /// The limits.
        #[command(flatten)]
        limit: EntryLimit,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// List the limits of entries' tokens.
    #[command(after_help = "Example:\n  bulla entry limits")]
    Limits {
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Delete entries.
    #[command(after_help = "Example:\n  bulla entry delete 5d1f6a2e-0b7c-4b7a-9f43-0a1b2c3d4e5f")]
    Delete {
        /// The entries' ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Make the entries what YAML files say: the difference first, then all of it or nothing.
    #[command(after_help = "Examples:
  bulla entry export > entries.yaml
  bulla entry apply -f entries.yaml --plan          only show what would change
  bulla entry apply -f entries.yaml --plan --exit-code   and end with 1 when something would
  bulla entry apply -f entries/                     create and update
  generate-entries | bulla entry apply -f -         from standard input
  bulla entry apply -f entries/ --prune --yes       and delete what no file names")]
    Apply {
        /// What to apply, and how.
        #[command(flatten)]
        apply: EntryApply,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Print all entries in the form that `bulla entry apply` reads.
    #[command(after_help = "Example:\n  bulla entry export > entries.yaml")]
    Export {
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
}

/// What to apply, and how.
#[derive(Args, Debug, Default)]
pub struct EntryApply {
    /// A file, a folder of .yaml, .yml and .json files, or - for standard input; may be
    /// given several times.
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Delete entries that no file names; the names of nodes stay.
    #[arg(long)]
    pub prune: bool,
    /// Show the difference and change nothing.
    #[arg(long)]
    pub plan: bool,
    /// With --plan: end with exit code 1 when something would change.
    #[arg(long, requires = "plan")]
    pub exit_code: bool,
    /// Agree to deletes beforehand.
    #[arg(long)]
    pub yes: bool,
}

/// What a new entry says.
#[derive(Args, Debug, Default)]
pub struct EntryContents {
    /// The SPIFFE ID its workloads receive.
    #[arg(long, value_name = "ID")]
    pub spiffe_id: String,
    /// The agent, node alias or entry it hangs under.
    #[arg(long, value_name = "ID")]
    pub parent_id: String,
    /// A selector, type:value; all that are given must be attested.
    #[arg(long = "selector", required = true, value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Lifetime of X.509-SVIDs, in seconds or such as 1h; 0 is the server's default.
    #[arg(long, default_value_t = 0, value_name = "SPAN", value_parser = seconds)]
    pub x509_ttl: i32,
    /// Lifetime of JWT-SVIDs, in seconds or such as 5m; 0 is the server's default.
    #[arg(long, default_value_t = 0, value_name = "SPAN", value_parser = seconds)]
    pub jwt_ttl: i32,
    /// A DNS name for the X.509-SVID; the first becomes its common name.
    #[arg(long = "dns-name", value_name = "NAME")]
    pub dns_names: Vec<String>,
    /// A trust domain whose bundle the workload also receives.
    #[arg(long, value_name = "TRUST-DOMAIN")]
    pub federates_with: Vec<String>,
    /// Tells a workload with several identities which is which; "default" makes it the first.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub hint: String,
    /// Let the SVID call the server API as an admin.
    #[arg(long)]
    pub admin_workload: bool,
    /// Let the SVID ask for a CA certificate of a downstream server.
    #[arg(long)]
    pub downstream: bool,
    /// From when on the entry no longer counts, in Unix seconds; 0 is never.
    #[arg(long, default_value_t = 0, value_name = "UNIX-SECONDS")]
    pub expires_at: i64,
}

/// What to change in an entry.
#[derive(Args, Debug, Default)]
pub struct EntryUpdate {
    /// A new SPIFFE ID.
    #[arg(long, value_name = "ID")]
    pub spiffe_id: Option<String>,
    /// A new parent.
    #[arg(long, value_name = "ID")]
    pub parent_id: Option<String>,
    /// New selectors, replacing all old ones.
    #[arg(long = "selector", value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// A new lifetime of X.509-SVIDs, in seconds or such as 1h; 0 is the server's default.
    #[arg(long, value_name = "SPAN", value_parser = seconds)]
    pub x509_ttl: Option<i32>,
    /// A new lifetime of JWT-SVIDs, in seconds or such as 5m; 0 is the server's default.
    #[arg(long, value_name = "SPAN", value_parser = seconds)]
    pub jwt_ttl: Option<i32>,
    /// New DNS names, replacing all old ones.
    #[arg(long = "dns-name", value_name = "NAME")]
    pub dns_names: Vec<String>,
    /// New trust domains whose bundles the workload also receives, replacing all old
    /// ones; an empty one alone removes all.
    #[arg(long, value_name = "TRUST-DOMAIN")]
    pub federates_with: Vec<String>,
    /// A new hint.
    #[arg(long, value_name = "TEXT")]
    pub hint: Option<String>,
    /// A new end, in Unix seconds; 0 is never.
    #[arg(long, value_name = "UNIX-SECONDS")]
    pub expires_at: Option<i64>,
}

/// Which entries to list.
#[derive(Args, Debug, Default)]
pub struct EntryFilter {
    /// Only those that yield this SPIFFE ID.
    #[arg(long, value_name = "ID")]
    pub spiffe_id: Option<String>,
    /// Only those under this parent.
    #[arg(long, value_name = "ID")]
    pub parent_id: Option<String>,
    /// Only those that ask for all of these selectors, and perhaps others.
    #[arg(long = "selector", value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Only those with this hint.
    #[arg(long, value_name = "TEXT")]
    pub hint: Option<String>,
    /// Only those whose SPIFFE ID begins so.
    #[arg(long, value_name = "START")]
    pub prefix: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// What tokens of an entry can be at most.
#[derive(Args, Debug)]
pub struct EntryLimit {
    /// The entry's id.
    pub id: String,
    /// An audience that tokens may be for; may be given several times.
    #[arg(long = "audience", value_name = "AUDIENCE")]
    pub audiences: Vec<String>,
    /// The longest life of a token, in seconds or such as 5m.
    #[arg(long, value_name = "SPAN", value_parser = some_seconds)]
    pub max_ttl: Option<u32>,
    /// Take the limits away.
    #[arg(long, conflicts_with_all = ["audiences", "max_ttl"])]
    pub clear: bool,
}
