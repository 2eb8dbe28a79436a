//! `bulla bundle show --owners` and `bulla bundle remove`: who brought what into the
//! trust domain's bundle, and taking it out.

use serde_json::{Value, json};

use crate::admin::connect;
use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::output::{Output, utc};
use crate::wire::trust_v1::trust_client::TrustClient;
use crate::wire::trust_v1::{Authority, OwnersRequest, RemoveRequest};

const COLUMNS: &[(&str, &str)] = &[
    ("PROFILE", "profile"),
    ("ID", "id"),
    ("OWNER", "owner"),
    ("BROUGHT BY", "by"),
    ("SINCE", "since"),
    ("UNTIL", "until"),
    ("TAINTED", "tainted"),
    ("WHY", "why"),
];

/// Shows every authority with its owner.
pub(super) async fn show(admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let mut client = TrustClient::new(connect(admin).await?);
    let answer = client.owners(OwnersRequest {}).await?.into_inner();
    let rows: Vec<Value> = answer.authorities.iter().map(row).collect();
    if out.is_json() {
        return Ok(out.document(&json!({
            "sequence": answer.bundle_sequence,
            "authorities": rows,
        }))?);
    }
    out.line(format!("sequence  {}", answer.bundle_sequence))?;
    Ok(out.rows(&rows, COLUMNS, "no authorities")?)
}

/// Takes an authority out, or says what that would do.
pub(super) async fn remove(
    id: String,
    plan: bool,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = TrustClient::new(connect(admin).await?);
    let answer = client
        .remove(RemoveRequest { id, plan })
        .await?
        .into_inner();
    let rows: Vec<Value> = answer.authorities.iter().map(row).collect();
    if out.is_json() {
        return Ok(out.document(&json!({
            "done": answer.done,
            "refused_because": answer.refused_because,
            "authorities": rows,
        }))?);
    }
    for why in &answer.refused_because {
        out.line(format!("refused: {why}"))?;
    }
    let refused = !answer.refused_because.is_empty();
    let what = match (answer.done, refused) {
        (true, _) => "removed:",
        (false, true) => "would not be removed:",
        (false, false) => "would be removed:",
    };
    out.line(what)?;
    out.rows(&rows, COLUMNS, "nothing")?;
    if !answer.done && !refused {
        out.line("whatever one of these signed is not trusted any more from then on")?;
    }
    Ok(())
}

fn row(authority: &Authority) -> Value {
    let time = |seconds: i64| {
        if seconds == 0 {
            Value::Null
        } else {
            Value::String(utc(seconds))
        }
    };
    let owner = match authority.owner_id.as_str() {
        "" => authority.owner.clone(),
        id => format!("{} {id}", authority.owner),
    };
    let by = if authority.by.is_empty() {
        &authority.spiffe_id
    } else {
        &authority.by
    };
    json!({
        "profile": authority.profile,
        "id": authority.id,
        "sha256": authority.sha256,
        "owner": owner,
        "spiffe_id": authority.spiffe_id,
        "by": by,
        "since": time(authority.since),
        "until": time(authority.until),
        "why": authority.why,
        "tainted": authority.tainted,
    })
}
