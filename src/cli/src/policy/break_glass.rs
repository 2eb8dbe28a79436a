//! `bulla policy break-glass …`: one person asks, another approves.

use serde_json::{Value, json};

use crate::admin::connect;
use crate::command::BreakGlassCommand;
use crate::failure::Failure;
use crate::output::{Output, utc};
use crate::wire::policy_v1::policy_client::PolicyClient;
use crate::wire::policy_v1::{
    ApproveBreakGlassRequest, BreakGlass, EndBreakGlassRequest, ListBreakGlassRequest,
    OpenBreakGlassRequest,
};

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("STATE", "state"),
    ("WORKLOAD", "spiffe_id"),
    ("TICKET", "ticket"),
    ("ASKED BY", "requester"),
    ("APPROVED BY", "approver"),
    ("ENDS", "ends_at"),
];

fn value(glass: &BreakGlass) -> Value {
    json!({
        "id": glass.id,
        "state": glass.state,
        "spiffe_id": glass.spiffe_id,
        "ticket": glass.ticket,
        "requester": glass.requester,
        "approver": glass.approver,
        "seconds": glass.seconds,
        "opened_at": utc(glass.opened_at),
        "ends_at": utc(glass.ends_at),
    })
}

/// Runs one command.
///
/// # Errors
/// The server is away, or it is refused: the same person asks and approves.
pub(super) async fn run(command: BreakGlassCommand, out: &mut Output) -> Result<(), Failure> {
    let (what, glass) = match command {
        BreakGlassCommand::Open {
            id,
            ticket,
            seconds,
            admin,
        } => {
            let mut client = PolicyClient::new(connect(&admin).await?);
            let request = OpenBreakGlassRequest {
                spiffe_id: id,
                ticket,
                seconds,
            };
            let opened = client.open_break_glass(request).await?;
            ("asked for; another person approves it with its id", opened)
        }
        BreakGlassCommand::Approve(args) => {
            let mut client = PolicyClient::new(connect(&args.admin).await?);
            let request = ApproveBreakGlassRequest { id: args.id };
            ("in force", client.approve_break_glass(request).await?)
        }
        BreakGlassCommand::End(args) => {
            let mut client = PolicyClient::new(connect(&args.admin).await?);
            let request = EndBreakGlassRequest { id: args.id };
            ("ended", client.end_break_glass(request).await?)
        }
        BreakGlassCommand::List { admin } => {
            let mut client = PolicyClient::new(connect(&admin).await?);
            let all = client.list_break_glass(ListBreakGlassRequest {}).await?;
            let rows: Vec<Value> = all.into_inner().break_glass.iter().map(value).collect();
            return Ok(out.rows(&rows, COLUMNS, "there is no break-glass")?);
        }
    };
    let glass = glass.into_inner();
    if out.is_json() {
        return Ok(out.document(&value(&glass))?);
    }
    let (id, workload, ends) = (&glass.id, &glass.spiffe_id, utc(glass.ends_at));
    Ok(out.line(format!("{id}: {what}, for {workload}, until {ends}"))?)
}
