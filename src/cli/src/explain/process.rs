//! An agent's explanation of a process, for people.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, member, text, utc};

const ENTRIES: &[(&str, &str)] = &[
    ("SPIFFE ID", "spiffe_id"),
    ("ENTRY ID", "entry_id"),
    ("HINT", "hint"),
    ("SELECTORS", "selectors"),
    ("X.509-SVID UNTIL", "until"),
];

const NEAR: &[(&str, &str)] = &[
    ("SPIFFE ID", "spiffe_id"),
    ("ENTRY ID", "entry_id"),
    ("MISSING", "missing"),
    ("PROCESS HAS", "has"),
    ("WHY", "why"),
];

/// Shows an explanation; fails when there is no identity in it.
///
/// # Errors
/// The process has no identity.
pub(super) fn show(answer: &Value, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        out.document(answer)?;
    } else {
        attested(answer, out)?;
        entries(answer, out)?;
        near(answer, out)?;
        surroundings(answer, out)?;
        out.line("")?;
    }
    let verdict = text(answer, "verdict");
    if list(answer, "entries").is_empty() {
        return Err(Failure::refused(verdict).next(advice(answer)));
    }
    if !out.is_json() {
        out.line(verdict)?;
    }
    Ok(())
}

fn list(value: &Value, name: &str) -> Vec<Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn attested(answer: &Value, out: &mut Output) -> Result<(), Failure> {
    let process = member(answer, "process");
    let of = |name: &str| member(&process, name);
    out.line(format!(
        "process {}, user {}, group {}",
        of("pid"),
        of("uid"),
        of("gid")
    ))?;
    for attestor in list(answer, "attestors") {
        out.line(format!(
            "attestor {}: {}, {}",
            text(&attestor, "name"),
            text(&attestor, "outcome"),
            text(answer, "strength")
        ))?;
        for selector in list(&attestor, "selectors") {
            out.line(format!("  {}", selector.as_str().unwrap_or_default()))?;
        }
    }
    Ok(())
}

fn entries(answer: &Value, out: &mut Output) -> Result<(), Failure> {
    let rows: Vec<Value> = list(answer, "entries")
        .into_iter()
        .map(|mut row| {
            let until = row.get("x509_svid_expires_at").and_then(Value::as_i64);
            let until = until.map_or_else(|| "not issued yet".to_owned(), utc);
            if let Some(members) = row.as_object_mut() {
                members.insert("until".into(), until.into());
            }
            row
        })
        .collect();
    out.line("")?;
    Ok(out.rows(&rows, ENTRIES, "no entry matches")?)
}

fn near(answer: &Value, out: &mut Output) -> Result<(), Failure> {
    if answer.get("near_misses").is_none() {
        return Ok(());
    }
    let mut rows = Vec::new();
    for miss in list(answer, "near_misses") {
        let missing = list(&miss, "missing");
        let wanted: Vec<Value> = missing.iter().map(|m| member(m, "selector")).collect();
        let has: Vec<Value> = missing
            .iter()
            .flat_map(|m| list(m, "process_has"))
            .collect();
        rows.push(json!({
            "spiffe_id": member(&miss, "spiffe_id"),
            "entry_id": member(&miss, "entry_id"),
            "missing": wanted,
            "has": has,
            "why": member(&miss, "why"),
        }));
    }
    out.line("")?;
    out.line("entries of this agent that nearly match:")?;
    out.rows(&rows, NEAR, "none")?;
    let more = answer.get("near_misses_left_out").and_then(Value::as_u64);
    if let Some(more) = more.filter(|more| *more > 0) {
        out.line(format!("and {more} more"))?;
    }
    Ok(())
}

fn surroundings(answer: &Value, out: &mut Output) -> Result<(), Failure> {
    let (Some(agent), Some(view), Some(server)) = (
        answer.get("agent"),
        answer.get("view"),
        answer.get("server"),
    ) else {
        return Ok(());
    };
    out.line("")?;
    out.line(format!("agent   {}", text(agent, "spiffe_id")))?;
    let since = view.get("since").and_then(Value::as_i64);
    let since = match since {
        Some(at) => format!("as the server gave them at {}", utc(at)),
        None => format!("of {}", text(view, "source")),
    };
    out.line(format!("entries {}, {since}", member(view, "entries")))?;
    let state = match server.get("reachable").and_then(Value::as_bool) {
        Some(true) => "reachable".to_owned(),
        _ => format!("not reachable: {}", text(server, "problem")),
    };
    Ok(out.line(format!("server  {}, {state}", text(server, "address")))?)
}

/// What to do for a process without identity.
fn advice(answer: &Value) -> String {
    if answer.get("attested").and_then(Value::as_bool) == Some(false) {
        return "look for the reason in the process itself; docs/json-api.md says what is attested"
            .into();
    }
    match answer.get("near_misses").and_then(Value::as_array) {
        None => "ask the node's operator for `bulla explain pid`, which shows near misses".into(),
        Some(near) => match near.first() {
            Some(first) => format!(
                "the nearest is entry {}; change it with `bulla entry update`, or register another",
                text(first, "entry_id")
            ),
            None => "no entry of this agent is near; `bulla explain id SPIFFE-ID` on the server \
                     shows on which nodes an entry counts"
                .into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_nearest_entry_or_the_next_place_to_look() {
        let near = json!({ "attested": true, "near_misses": [{ "entry_id": "e1" }] });
        assert!(advice(&near).contains("entry e1"));
        let none = json!({ "attested": true, "near_misses": [] });
        assert!(advice(&none).contains("explain id"));
        let me = json!({ "attested": true });
        assert!(advice(&me).contains("explain pid"));
    }
}
