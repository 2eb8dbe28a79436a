//! `bulla policy …`: policy sets planned, activated, looked at and gone back to;
//! break-glass by two people.

mod apply;
mod break_glass;
pub(crate) mod folder;
pub(crate) mod import;
mod offline;
mod report;
mod show;

use crate::admin::connect;
use crate::command::PolicyCommand;
use crate::failure::Failure;
use crate::output::{Output, utc};
use crate::wire::policy_v1::policy_client::PolicyClient;
use crate::wire::policy_v1::{Activation, HistoryRequest, RollbackRequest};
use serde_json::{Value, json};

const COLUMNS: &[(&str, &str)] = &[
    ("ACTIVE", "active"),
    ("DIGEST", "short"),
    ("TIME", "time"),
    ("BY", "by"),
    ("BACK", "rollback"),
    ("COMMENT", "comment"),
];

/// Runs one `bulla policy` command.
///
/// # Errors
/// The server is away, it is refused, a check does not hold, or a file cannot be read.
pub(crate) async fn run(command: PolicyCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        PolicyCommand::Validate {
            folder,
            deny_warnings,
            cedar_schema,
        } => offline::validate(&folder, deny_warnings, cedar_schema, out),
        PolicyCommand::Test {
            folder,
            deny_untested,
        } => offline::test(&folder, deny_untested, out),
        PolicyCommand::Import(command) => import::run(&command, out),
        PolicyCommand::Apply(args) => apply::run(args, out).await,
        PolicyCommand::History { admin } => {
            let mut client = PolicyClient::new(connect(&admin).await?);
            let history = client
                .history(HistoryRequest::default())
                .await?
                .into_inner();
            let rows: Vec<Value> = history.activations.iter().map(activation).collect();
            Ok(out.rows(&rows, COLUMNS, "no policy set was activated yet")?)
        }
        PolicyCommand::Rollback {
            digest,
            plan,
            comment,
            admin,
        } => {
            let mut client = PolicyClient::new(connect(&admin).await?);
            let request = RollbackRequest {
                digest,
                comment,
                plan,
            };
            let answer = client.rollback(request).await?.into_inner();
            report::activated(&answer, plan, out)
        }
        PolicyCommand::Show {
            digest,
            write,
            admin,
        } => show::run(digest, write.as_deref(), &admin, out).await,
        PolicyCommand::BreakGlass(command) => break_glass::run(command, out).await,
    }
}

/// An activation for people and scripts.
fn activation(activation: &Activation) -> Value {
    let digits = activation.digest.trim_start_matches("sha256:");
    json!({
        "active": activation.active,
        "digest": activation.digest,
        "short": digits.get(..16).unwrap_or(digits),
        "catalogue": activation.catalogue,
        "time": utc(activation.at),
        "by": activation.by,
        "comment": activation.comment,
        "previous": activation.previous,
        "rollback": activation.rollback,
    })
}
