//! `bulla policy …`: the permission catalogue and the policies that decide what
//! tokens may do.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AdminSocket;

/// What can be done with policy sets.
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Check a policy folder, without a server: exit code 1 if anything is wrong.
    #[command(after_help = "Examples:
  bulla policy validate policy/
  bulla policy validate policy/ --deny-warnings --json     for CI
  bulla policy validate policy/ --cedar-schema > policy.cedarschema")]
    Validate {
        /// The folder.
        folder: PathBuf,
        /// Count what is only reported, such as broad permits, as wrong.
        #[arg(long)]
        deny_warnings: bool,
        /// Print the Cedar schema made from the catalogue, for editors, and nothing else.
        #[arg(long)]
        cedar_schema: bool,
    },
    /// Run the tests of a policy folder, without a server: exit code 1 if one fails.
    #[command(after_help = "Examples:
  bulla policy test policy/
  bulla policy test policy/ --deny-untested --json     for CI")]
    Test {
        /// The folder.
        folder: PathBuf,
        /// Fail also if a policy decides no test.
        #[arg(long)]
        deny_untested: bool,
    },
    /// Begin a service's catalogue file with the endpoints its interface describes.
    #[command(subcommand)]
    Import(PolicyImport),
    /// Activate the policy set of a folder, after a look at what changes.
    #[command(after_help = "Examples:
  bulla policy apply policy/ --plan                  only show what would change
  bulla policy apply policy/ --comment SEC-412
  bulla policy apply policy/ --yes --json            for scripts: do not ask when access is lost
The folder holds catalogue/*.yaml, policies/*.cedar, guardrails/*.cedar and tests/*.json.
Exit codes: 0 done   1 it does not validate, a test fails, or not agreed to   3 no server")]
    Apply(PolicyApply),
    /// Show every activation that is kept, newest first.
    #[command(after_help = "Examples:\n  bulla policy history\n  bulla policy history --json")]
    History {
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Go back to a policy set that was active before.
    #[command(after_help = "Examples:
  bulla policy rollback 3f9c2a --plan
  bulla policy rollback sha256:3f9c2a… --comment INC-7")]
    Rollback {
        /// The set's digest, or its first digits (at least 4).
        digest: String,
        /// Only show what would change.
        #[arg(long)]
        plan: bool,
        /// Why, for the history.
        #[arg(long, default_value = "", value_name = "TEXT")]
        comment: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Show a policy set: the active one, or another by its digest.
    #[command(after_help = "Examples:
  bulla policy show
  bulla policy show 3f9c2a --write policy-before/")]
    Show {
        /// The set's digest, or its first digits; the active set otherwise.
        digest: Option<String>,
        /// Write its files into this folder, which must not exist yet.
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Break-glass: one person asks, another approves, for at most fifteen minutes.
    #[command(subcommand)]
    BreakGlass(BreakGlassCommand),
}

/// What to activate.
#[derive(Args, Debug)]
pub struct PolicyApply {
    /// The policy folder.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Only show what would change.
    #[arg(long)]
    pub plan: bool,
    /// Do not ask when workloads lose a permission.
    #[arg(long)]
    pub yes: bool,
    /// Why, for the history.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub comment: String,
    /// The server to talk to.
    #[command(flatten)]
    pub admin: AdminSocket,
}

/// What can be done with break-glass.
#[derive(Subcommand, Debug)]
pub enum BreakGlassCommand {
    /// Ask for it, for one workload. Nothing is in force before another person approves.
    #[command(after_help = "Example:
  bulla policy break-glass open spiffe://example.org/checkout --ticket INC-7 --seconds 600")]
    Open {
        /// The workload.
        #[arg(value_name = "SPIFFE-ID")]
        id: String,
        /// The ticket that explains it.
        #[arg(long)]
        ticket: String,
        /// How long it lasts from the approval, at most 900.
        #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=900))]
        seconds: u32,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Approve what another person asked for.
    #[command(after_help = "Example:
  bulla policy break-glass approve bg_0192… --server bulla.example.org:8081 --identity ~/svid
Whoever asked cannot approve. A person is a SPIFFE ID with an entry that says admin, or a
user of the server's machine on the admin socket.")]
    Approve(GlassArgs),
    /// End it before its time.
    End(GlassArgs),
    /// Show what is asked for, in force and over.
    List {
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
}

/// Which break-glass.
#[derive(Args, Debug)]
pub struct GlassArgs {
    /// Its id.
    pub id: String,
    /// The server to talk to.
    #[command(flatten)]
    pub admin: AdminSocket,
}

/// Where a service's endpoints are described.
#[derive(Subcommand, Debug)]
pub enum PolicyImport {
    /// An OpenAPI document, version 2 or 3, YAML or JSON.
    #[command(after_help = "Example:
  bulla policy import openapi api.yaml --audience payments --owner team-payments \\
      > policy/catalogue/payments.yaml")]
    Openapi(ImportArgs),
    /// A compiled set of protobuf descriptors (protoc --descriptor_set_out, buf build -o).
    #[command(after_help = "Example:
  bulla policy import descriptors api.binpb --audience ledger --owner team-finance \\
      > policy/catalogue/ledger.yaml")]
    Descriptors(ImportArgs),
}

/// What the file says apart from endpoints.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The description.
    pub file: PathBuf,
    /// The audience of the service's tokens.
    #[arg(long)]
    pub audience: String,
    /// The team that answers for it.
    #[arg(long)]
    pub owner: String,
}
