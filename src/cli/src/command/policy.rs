//! `bulla policy …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with policy folders: catalogue/, policies/, guardrails/, tests/.
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
