//! `bulla entry limit` and `bulla entry limits`: what tokens an entry's workloads can
//! have at most, whatever policies say.

use serde_json::{Value, json};

use crate::admin::connect;
use crate::command::{AdminSocket, EntryLimit};
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::entries_v1::limits_client::LimitsClient;
use crate::wire::entries_v1::{ListTokenLimitsRequest, SetTokenLimitsRequest, TokenLimits};

const COLUMNS: &[(&str, &str)] = &[
    ("ENTRY", "entry_id"),
    ("AUDIENCES", "audiences"),
    ("SECONDS", "max_ttl_seconds"),
];

fn value(limits: &TokenLimits) -> Value {
    let seconds = (limits.max_ttl_seconds != 0).then_some(limits.max_ttl_seconds);
    json!({
        "entry_id": limits.entry_id,
        "audiences": limits.audiences,
        "max_ttl_seconds": seconds,
    })
}

/// Sets the limits of one entry, or takes them away.
///
/// # Errors
/// There is no such entry, or the server is away.
pub(super) async fn set(
    args: EntryLimit,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let none = args.audiences.is_empty() && args.max_ttl.is_none();
    if none && !args.clear {
        return Err(Failure::usage("no limit is given")
            .next("give --audience or --max-ttl, or --clear to take the limits away"));
    }
    let limits = TokenLimits {
        entry_id: args.id,
        audiences: args.audiences,
        max_ttl_seconds: args.max_ttl.unwrap_or_default(),
    };
    let request = SetTokenLimitsRequest {
        limits: Some(limits),
    };
    let mut client = LimitsClient::new(connect(admin).await?);
    let set = client.set(request).await?.into_inner();
    Ok(out.object(&value(&set))?)
}

/// Lists the limits of all entries that have some.
///
/// # Errors
/// The server is away.
pub(super) async fn list(admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let mut client = LimitsClient::new(connect(admin).await?);
    let all = client.list(ListTokenLimitsRequest::default()).await?;
    let rows: Vec<Value> = all.into_inner().limits.iter().map(value).collect();
    Ok(out.rows(&rows, COLUMNS, "no entry has limits")?)
}
