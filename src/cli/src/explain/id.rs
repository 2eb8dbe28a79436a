//! `bulla explain id`: which entries can yield a SPIFFE ID, on which nodes, and who
//! holds it now according to the audit records.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::lineage::{Genealogist, Lineage};
use crate::admin::{connect, entry_value, id_text, wire_id};
use crate::command::{AdminSocket, AuditFilter};
use crate::failure::{Exit, Failure};
use crate::output::{Output, text, utc};
use crate::wire::audit_v1::Record;
use crate::wire::types;
use crate::{audit, clock};

/// The newest records looked at for holders.
const RECORDS: u32 = 10_000;

const ENTRIES: &[(&str, &str)] = &[
    ("ENTRY ID", "id"),
    ("PARENT ID", "parent_id"),
    ("SELECTORS", "selectors"),
    ("STATE", "state"),
];
const NODES: &[(&str, &str)] = &[
    ("NODE", "agent"),
    ("STATE", "state"),
    ("ENTRY ID", "entry_id"),
    ("THROUGH", "via"),
];
const HOLDERS: &[(&str, &str)] = &[
    ("HELD BY", "who"),
    ("AS", "kind"),
    ("LATEST", "credential_id"),
    ("UNTIL", "until"),
    ("VALID ONES", "count"),
];

/// Explains one SPIFFE ID.
///
/// # Errors
/// The server is away, no entry gives the ID, or no node can yield it now.
pub(super) async fn explain(
    id: &str,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let wire = wire_id(id)?;
    let now = clock::now().0;
    let mut genealogist = Genealogist::new(connect(admin).await?);
    let entries = genealogist.giving(&wire).await?;
    let (mut rows, mut nodes, mut dead_ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_cut = false;
    for entry in &entries {
        let lineage = genealogist.climb(entry).await?;
        rows.push(entry_row(entry, &lineage, now));
        nodes.extend(node_rows(entry, &lineage, now));
        is_cut |= lineage.is_cut;
        dead_ends.extend(lineage.dead_ends);
    }
    let filter = AuditFilter {
        last: RECORDS,
        for_whom: Some(id_text(Some(&wire))),
        ..AuditFilter::default()
    };
    let holders = holders(&audit::list(&filter, admin).await?, id, now);
    if out.is_json() {
        out.document(&json!({
            "spiffe_id": id,
            "entries": rows,
            "nodes": nodes,
            "holders": holders,
            "dead_ends": dead_ends,
            "lineage_cut": is_cut,
        }))?;
    } else {
        out.rows(&rows, ENTRIES, "no entry gives this SPIFFE ID")?;
        out.line("")?;
        out.rows(&nodes, NODES, "no node can yield it")?;
        out.line("")?;
        out.rows(&holders, HOLDERS, "nobody holds a valid credential of it")?;
        for parent in &dead_ends {
            out.line(format!(
                "nothing has the parent ID {parent}: no agent, no entry"
            ))?;
        }
    }
    verdict(id, &entries, &nodes)
}

fn verdict(id: &str, entries: &[types::Entry], nodes: &[Value]) -> Result<(), Failure> {
    if entries.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("no entry gives {id}"))
            .next("register it with `bulla entry create`"));
    }
    if nodes.iter().any(|node| text(node, "state") == "active") {
        return Ok(());
    }
    Err(Failure::refused(format!("no node can yield {id} now")).next(
        "the parent of an entry must be an agent's ID, the alias of `bulla token create --spiffe-id`, \
         or a group of nodes; compare it with `bulla node list`",
    ))
}

fn entry_row(entry: &types::Entry, lineage: &Lineage, now: i64) -> Value {
    let mut row = entry_value(entry);
    let parent = entry.parent_id.as_ref();
    let state = if entry.expires_at != 0 && entry.expires_at <= now {
        "expired"
    } else if parent.is_some_and(|parent| parent.path == "/spire/server") {
        "names a group of nodes"
    } else if lineage.nodes.is_empty() {
        "no node"
    } else {
        "counts"
    };
    if let Some(members) = row.as_object_mut() {
        members.insert("state".into(), state.into());
    }
    row
}

fn node_rows(entry: &types::Entry, lineage: &Lineage, now: i64) -> Vec<Value> {
    let is_expired = entry.expires_at != 0 && entry.expires_at <= now;
    let rows = lineage.nodes.iter().map(|(name, reached)| {
        let state = if reached.agent.banned {
            "banned"
        } else if reached.agent.x509svid_expires_at <= now {
            "expired"
        } else if is_expired {
            "entry expired"
        } else {
            "active"
        };
        json!({
            "agent": name,
            "state": state,
            "entry_id": entry.id,
            "via": reached.via,
        })
    });
    rows.collect()
}

/// Who was granted a credential of the ID that is still valid: by holder and kind,
/// the latest and how many.
fn holders(records: &[Record], id: &str, now: i64) -> Vec<Value> {
    let valid = records.iter().filter(|record| {
        record.for_whom == id
            && record.result == "granted"
            && record.not_after > now
            && !record.credential_id.is_empty()
    });
    let mut by_holder: BTreeMap<(&str, &str), (u64, &Record)> = BTreeMap::new();
    for record in valid {
        let held = by_holder
            .entry((&record.who, &record.kind))
            .or_insert((0, record));
        *held = (held.0 + 1, record);
    }
    by_holder
        .into_iter()
        .map(|((who, kind), (count, latest))| {
            json!({
                "who": who,
                "kind": kind,
                "credential_id": latest.credential_id,
                "entry_id": latest.entry_id,
                "not_after": latest.not_after,
                "until": utc(latest.not_after),
                "count": count,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(who: &str, kind: &str, not_after: i64, result: &str) -> Record {
        Record {
            who: who.into(),
            kind: kind.into(),
            not_after,
            result: result.into(),
            for_whom: "spiffe://example.org/a".into(),
            credential_id: not_after.to_string(),
            ..Record::default()
        }
    }

    #[test]
    fn holders_are_those_whose_credentials_are_valid() {
        let records = [
            record("agent1", "issue_x509", 50, "granted"),
            record("agent1", "issue_x509", 150, "granted"),
            record("agent1", "issue_x509", 160, "granted"),
            record("agent2", "issue_jwt", 170, "granted"),
            record("agent3", "issue_x509", 180, "refused"),
        ];
        let held = holders(&records, "spiffe://example.org/a", 100);
        assert_eq!(held.len(), 2);
        assert_eq!(
            (&held[0]["who"], &held[0]["count"]),
            (&json!("agent1"), &json!(2))
        );
        assert_eq!(held[0]["credential_id"], "160");
        assert_eq!(held[1]["kind"], "issue_jwt");
        assert!(holders(&records, "spiffe://example.org/b", 100).is_empty());
    }

    #[test]
    fn the_exit_code_tells_no_entry_from_no_node() {
        let id = "spiffe://example.org/a";
        assert_eq!(verdict(id, &[], &[]).unwrap_err().exit, Exit::NotFound);
        let entries = [types::Entry::default()];
        assert_eq!(verdict(id, &entries, &[]).unwrap_err().exit, Exit::Refused);
        let banned = [json!({ "state": "banned" })];
        assert_eq!(
            verdict(id, &entries, &banned).unwrap_err().exit,
            Exit::Refused
        );
        assert!(verdict(id, &entries, &[json!({ "state": "active" })]).is_ok());
    }
}
