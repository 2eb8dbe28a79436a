//! The policy reference names whatever a policy can say.

use std::path::Path;

use crate::rules::KNOWN;
use crate::{builtin, schema};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy-reference.md");
    std::fs::read_to_string(path).unwrap()
}

/// The members of a record of the schema: those between `from` and the brace that ends it.
fn members(from: &str) -> Vec<&'static str> {
    let (_, rest) = schema::WORLD.split_once(from).unwrap();
    let (record, _) = rest.split_once("\n}").unwrap();
    let names = record.lines().filter_map(|line| line.split_once(':'));
    names
        .map(|(name, _)| name.trim().trim_end_matches('?'))
        .collect()
}

#[test]
fn every_attribute_annotation_and_built_in_guardrail_is_explained() {
    let page = page();
    let records = [
        ("type Circumstances = {", "context"),
        ("entity Workload in [Path, TrustDomain] = {", "principal"),
        ("type Node = {", "principal.node"),
        ("entity Audience = {", "resource"),
    ];
    let mut missing = Vec::new();
    for (record, of) in records {
        let members = members(record);
        assert!(members.len() > 1, "{record}");
        let names = members.into_iter().filter(|name| *name != "node");
        missing.extend(names.map(|name| format!("{of}.{name}")));
    }
    missing.extend(
        KNOWN
            .split([',', ' '])
            .filter(|w| w.starts_with('@'))
            .map(Into::into),
    );
    let builtin = builtin::file().text;
    let ids = builtin
        .lines()
        .filter_map(|line| line.strip_prefix("@id(\""));
    missing.extend(ids.map(|id| id.trim_end_matches("\")").to_owned()));
    assert!(missing.len() > 30, "{missing:?}");
    missing.retain(|name| !page.contains(&format!("`{name}`")));
    assert!(missing.is_empty(), "{missing:?}");
}
