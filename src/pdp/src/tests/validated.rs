//! Validating each policy against its own service alone says what validating
//! against the whole catalogue says.

use policy::{Catalogue, Fault, SourceFile};

use crate::rule::Layer;
use crate::rules::Reader;
use crate::{schema, validate};

const CATALOGUE: [(&str, &str); 2] = [
    (
        "catalogue/a.yaml",
        "{audience: a, owner: t, permissions: [{name: 'a:read', risk: low}, {name: 'a:write', risk: high}]}",
    ),
    (
        "catalogue/b.yaml",
        "{audience: b, owner: t, permissions: [{name: 'b:read', risk: low}, {name: 'b:write', risk: high}]}",
    ),
];
const ACTIONS: &[&str] = &[
    "action",
    "action == Action::\"a:read\"",
    "action in [Action::\"a:read\", Action::\"a:write\"]",
    "action in [Action::\"a:read\", Action::\"b:read\"]",
    "action in Action::\"service=a\"",
    "action == Action::\"service=a\"",
    "action in Action::\"risk=high\"",
    "action in []",
];
const RESOURCES: &[&str] = &["resource", "resource == Audience::\"a\""];
const CONDITIONS: &[&str] = &[
    "",
    "when { context.weekday == 2 }",
    "when { context.wekday == 2 }",
    "when { context.weekday == \"2\" }",
    "when { false }",
    "when { action == Action::\"b:read\" }",
    "when { action in Action::\"service=b\" }",
    "when { action == Action::\"b:reed\" }",
    "when { if action == Action::\"b:read\" then context.none else true }",
    "when { if action in Action::\"service=a\" then true else context.none }",
    "unless { resource == Audience::\"b\" }",
];

#[test]
fn validating_by_service_is_validating_the_whole() {
    let file = |(name, text): (&str, &str)| SourceFile {
        name: name.into(),
        text: text.into(),
    };
    let catalogue = Catalogue::read(&CATALOGUE.map(file)).unwrap();
    let text = schema::text(&catalogue);
    let (mut valid, mut invalid) = (0, 0);
    for action in ACTIONS {
        for resource in RESOURCES {
            for condition in CONDITIONS {
                let policy = format!(
                    "@id(\"p\") @owner(\"t\") @rationale(\"r\") permit (principal, {action}, {resource}) {condition};"
                );
                let mut reader = Reader::new(&catalogue);
                reader.read(&file(("policies/p.cedar", &policy)), Layer::Team);
                let told = |found: Result<(), Vec<Fault>>| match found {
                    Ok(()) => Vec::new(),
                    Err(mut faults) => {
                        faults.sort();
                        faults.iter().map(Fault::to_string).collect()
                    }
                };
                let parts = validate::strictly(&catalogue, &text, &reader.rules);
                let parts = told(parts.map(|_| ()));
                let whole = told(validate::whole(&text, &reader.rules));
                assert_eq!(parts, whole, "{policy}");
                *(if whole.is_empty() {
                    &mut valid
                } else {
                    &mut invalid
                }) += 1;
            }
        }
    }
    assert!(valid > 20 && invalid > 20, "{valid} valid, {invalid} not");
}
