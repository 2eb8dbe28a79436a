//! `bulla limits`: the server's budget table, what is used of it and who is at a bound.

use serde_json::{Value, json};

use crate::admin::connect;
use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::limits_v1::limits_client::LimitsClient;
use crate::wire::limits_v1::{Budget, Method, ShowRequest};

const BUDGETS: &[(&str, &str)] = &[
    ("PRINCIPAL", "principal"),
    ("RESOURCE", "resource"),
    ("USED", "used"),
    ("BOUND", "bound"),
    ("REFUSED", "refused"),
    ("AT THE BOUND", "at_bound"),
];

const METHODS: &[(&str, &str)] = &[
    ("METHOD", "method"),
    ("ROLES", "roles"),
    ("COST", "cost"),
    ("BYTES", "message_bytes"),
    ("DEADLINE", "deadline"),
];

/// Shows the budgets, or with `methods` what each RPC may cost; as JSON both.
///
/// # Errors
/// The server is away or refuses.
pub(crate) async fn run(
    methods: bool,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = LimitsClient::new(connect(admin).await?);
    let shown = client.show(ShowRequest {}).await?.into_inner();
    let budget_rows: Vec<Value> = shown.budgets.iter().map(budget).collect();
    let method_rows: Vec<Value> = shown.methods.iter().map(method).collect();
    if out.is_json() {
        let both = json!({ "budgets": budget_rows, "methods": method_rows });
        return Ok(out.document(&both)?);
    }
    if methods {
        return Ok(out.rows(&method_rows, METHODS, "the server serves no method")?);
    }
    Ok(out.rows(&budget_rows, BUDGETS, "the server holds nobody to a budget")?)
}

fn budget(row: &Budget) -> Value {
    json!({
        "principal": row.principal,
        "resource": row.resource,
        "used": row.used,
        "bound": row.bound,
        "refused": row.refused,
        "at_bound": row.at_bound,
    })
}

fn method(row: &Method) -> Value {
    json!({
        "method": row.method,
        "roles": row.roles,
        "cost": row.cost,
        "message_bytes": row.message_bytes,
        "deadline": row.deadline,
    })
}
