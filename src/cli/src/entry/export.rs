//! `bulla entry export`: all entries as a file that `bulla entry apply` reads.

use serde_json::{Map, Value, json};

use super::plan::is_alias;
use super::{all, limit};
use crate::admin::{connect, id_text, selector_texts};
use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::entries_v1::TokenLimits;
use crate::wire::types;

/// Words that YAML readers take for something else than text.
const WORDS: [&str; 10] = [
    "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan",
];

/// Prints all entries but the names of nodes, which joining makes.
///
/// # Errors
/// The server is away.
pub(super) async fn run(admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let channel = connect(admin).await?;
    let mut entries = all(channel.clone()).await?;
    let limits = limit::by_entry(channel).await?;
    entries.retain(|entry| !is_alias(entry));
    let name = |entry: &types::Entry| {
        let (id, parent) = (entry.spiffe_id.as_ref(), entry.parent_id.as_ref());
        (id_text(id), id_text(parent), entry.id.clone())
    };
    entries.sort_by_cached_key(name);
    let described: Vec<Value> = entries
        .iter()
        .map(|entry| described(entry, limits.get(&entry.id)))
        .collect();
    if out.is_json() {
        return Ok(out.document(&json!({ "entries": described }))?);
    }
    Ok(out.line(yaml(&described).trim_end())?)
}

/// What a file says of an entry; what is as it would be anyway is left out.
fn described(entry: &types::Entry, limits: Option<&TokenLimits>) -> Value {
    let members = [
        ("id", json!(entry.id)),
        ("spiffe_id", json!(id_text(entry.spiffe_id.as_ref()))),
        ("parent_id", json!(id_text(entry.parent_id.as_ref()))),
        ("selectors", json!(selector_texts(&entry.selectors))),
        ("x509_ttl", json!(entry.x509_svid_ttl)),
        ("jwt_ttl", json!(entry.jwt_svid_ttl)),
        ("dns_names", json!(entry.dns_names)),
        ("federates_with", json!(entry.federates_with)),
        ("hint", json!(entry.hint)),
        ("admin", json!(entry.admin)),
        ("downstream", json!(entry.downstream)),
        ("expires_at", json!(entry.expires_at)),
        ("token_limits", json!(limits.map(limit::described))),
    ];
    let said = members.into_iter().filter(|(_, value)| match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Bool(is) => *is,
        Value::Object(members) => !members.is_empty(),
        Value::Null => false,
    });
    let said: Map<String, Value> = said.map(|(name, value)| (name.to_owned(), value)).collect();
    Value::Object(said)
}

fn yaml(entries: &[Value]) -> String {
    if entries.is_empty() {
        return "entries: []\n".into();
    }
    let mut text = String::from("entries:\n");
    for entry in entries {
        let mut lead = "  - ";
        for (name, value) in entry.as_object().into_iter().flatten() {
            text.push_str(&format!("{lead}{name}:"));
            lead = "    ";
            match value {
                Value::Array(list) => text.extend(list.iter().map(|item| listed("      ", item))),
                Value::Object(members) => {
                    for (name, value) in members {
                        text.push_str(&format!("\n      {name}:"));
                        match value {
                            Value::Array(list) => {
                                text.extend(list.iter().map(|item| listed("        ", item)));
                            }
                            value => text.push_str(&format!(" {}", scalar(value))),
                        }
                    }
                }
                value => text.push_str(&format!(" {}", scalar(value))),
            }
            text.push('\n');
        }
    }
    text
}

fn listed(indent: &str, item: &Value) -> String {
    format!("\n{indent}- {}", scalar(item))
}

/// A scalar, quoted as JSON quotes (which YAML reads) unless it is plainly text.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/:@-".contains(c);
    let word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    if letter && text.chars().all(plain) && !text.ends_with(':') && !word {
        return text.clone();
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::document::{self, key};
    use super::*;
    use crate::admin::{wire_id, wire_selector};

    #[test]
    fn what_is_exported_reads_back_the_same() {
        let hints = [
            "",
            "default",
            "yes",
            "null",
            "1e3",
            "# no comment",
            "a: b",
            "- x",
            "'",
            "\"q\" \\ \u{e9}",
            "key:",
            "007",
            "0x1f",
            "~",
            "*a",
            "&b",
            "!c",
            "%d",
            "@e",
            "2001-01-01",
            "a\u{2028}b",
        ];
        let entry = |(n, hint): (usize, &&str)| types::Entry {
            id: format!("{n}"),
            spiffe_id: Some(wire_id(&format!("spiffe://example.org/s{n}")).unwrap()),
            parent_id: Some(wire_id("spiffe://example.org/node").unwrap()),
            selectors: vec![wire_selector(&format!("unix:path:/a b/{hint}#{n}")).unwrap()],
            hint: (*hint).into(),
            x509_svid_ttl: 60,
            dns_names: vec!["a.example.org".into(), "b.example.org".into()],
            ..types::Entry::default()
        };
        let entries: Vec<types::Entry> = hints.iter().enumerate().map(entry).collect();
        let limits = TokenLimits {
            audiences: vec!["ledger".into(), "on".into()],
            max_ttl_seconds: 300,
            ..TokenLimits::default()
        };
        let described = |entry| described(entry, Some(&limits));
        let text = yaml(&entries.iter().map(described).collect::<Vec<_>>());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, &text).unwrap();
        let read = document::read(&[file]).unwrap().wanted;
        assert_eq!(read.len(), entries.len());
        for (read, entry) in read.iter().zip(&entries) {
            assert_eq!(key(&read.entry), key(entry), "{text}");
            assert_eq!(read.entry.hint, entry.hint, "{text}");
            assert_eq!(read.entry.id, entry.id);
            assert_eq!(read.entry.dns_names, entry.dns_names);
            assert_eq!(read.limits.as_ref(), Some(&limits), "{text}");
        }
        assert!(yaml(&[]).contains("[]"));
    }
}
