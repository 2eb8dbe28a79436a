//! `bulla entry limit` and `bulla entry limits`: what tokens an entry's workloads can
//! have at most, whatever policies say.

use std::collections::HashMap;

use serde_json::{Value, json};
use tonic::transport::Channel;

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

/// The limits of all entries that have some, by the entry's id, each in plain form.
///
/// # Errors
/// The server is away.
pub(super) async fn by_entry(channel: Channel) -> Result<HashMap<String, TokenLimits>, Failure> {
    let mut client = LimitsClient::new(channel).max_decoding_message_size(super::ANSWER_MAX);
    let all = client.list(ListTokenLimitsRequest::default()).await?;
    let mut limits = HashMap::new();
    for mut one in all.into_inner().limits {
        limits.insert(std::mem::take(&mut one.entry_id), plain(one));
    }
    Ok(limits)
}

/// The same limits, audiences in order and each once.
pub(super) fn plain(mut limits: TokenLimits) -> TokenLimits {
    limits.audiences.sort();
    limits.audiences.dedup();
    limits
}

/// What a file says of limits; nothing of none.
pub(super) fn described(limits: &TokenLimits) -> Value {
    let mut members = serde_json::Map::new();
    if !limits.audiences.is_empty() {
        members.insert("audiences".into(), json!(limits.audiences));
    }
    if limits.max_ttl_seconds != 0 {
        members.insert("max_ttl".into(), json!(limits.max_ttl_seconds));
    }
    Value::Object(members)
}

/// One line for people.
pub(super) fn text(limits: &TokenLimits) -> String {
    let audiences = (!limits.audiences.is_empty())
        .then(|| format!("audiences [{}]", limits.audiences.join(", ")));
    let lifetime =
        (limits.max_ttl_seconds != 0).then(|| format!("at most {} s", limits.max_ttl_seconds));
    let parts: Vec<String> = audiences.into_iter().chain(lifetime).collect();
    if parts.is_empty() {
        return "none".into();
    }
    parts.join(", ")
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
