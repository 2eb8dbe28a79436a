//! The changes between files and server, one by one.

use super::*;
use crate::admin::{wire_id, wire_selector};

fn entry(id: &str, name: &str, uid: u32) -> types::Entry {
    types::Entry {
        id: id.into(),
        spiffe_id: Some(wire_id(&format!("spiffe://example.org/{name}")).unwrap()),
        parent_id: Some(wire_id("spiffe://example.org/node").unwrap()),
        selectors: vec![wire_selector(&format!("unix:uid:{uid}")).unwrap()],
        ..types::Entry::default()
    }
}

fn wanted(entry: types::Entry) -> Wanted {
    Wanted {
        entry,
        limits: None,
        place: "a.yaml:1".into(),
    }
}

fn none() -> HashMap<String, TokenLimits> {
    HashMap::new()
}

fn limits(audiences: &[&str], max_ttl_seconds: u32) -> TokenLimits {
    TokenLimits {
        audiences: audiences.iter().map(ToString::to_string).collect(),
        max_ttl_seconds,
        ..TokenLimits::default()
    }
}

fn sizes(plan: &Plan) -> [usize; 5] {
    [
        plan.create.len(),
        plan.update.len(),
        plan.delete.len(),
        plan.unchanged,
        plan.unlisted,
    ]
}

#[test]
fn what_is_the_same_is_left_alone_and_what_is_not_listed_stays() {
    let present = [entry("a", "api", 1), entry("b", "web", 2)];
    let plan = Plan::of(&[wanted(entry("", "api", 1))], &present, &none(), false).unwrap();
    assert_eq!(sizes(&plan), [0, 0, 0, 1, 1]);
    let plan = Plan::of(&[wanted(entry("", "api", 1))], &present, &none(), true).unwrap();
    assert_eq!(sizes(&plan), [0, 0, 1, 1, 0]);
    assert_eq!(plan.delete[0].id, "b");
}

#[test]
fn an_id_keeps_an_entry_the_same_when_its_selectors_change() {
    let present = [entry("a", "api", 1)];
    let plan = Plan::of(&[wanted(entry("a", "api", 9))], &present, &none(), true).unwrap();
    assert_eq!(sizes(&plan), [0, 1, 0, 0, 0]);
    let lines: Vec<String> = plan.lines().collect();
    assert!(lines[1].contains("unix:uid:1 -> unix:uid:9"), "{lines:?}");
    let plan = Plan::of(&[wanted(entry("", "api", 9))], &present, &none(), true).unwrap();
    assert_eq!(sizes(&plan), [1, 0, 1, 0, 0]);
}

#[test]
fn what_files_cannot_say_stays() {
    let mut old = entry("a", "api", 1);
    (old.store_svid, old.revision_number) = (true, 4);
    let mut new = entry("", "api", 1);
    new.x509_svid_ttl = 60;
    let plan = Plan::of(&[wanted(new)], &[old], &none(), false).unwrap();
    assert!(plan.update[0].new.store_svid);
    assert_eq!(plan.update[0].new.revision_number, 4);
}

#[test]
fn names_of_nodes_are_never_pruned() {
    let mut alias = entry("n", "node", 1);
    alias.selectors = vec![wire_selector("spiffe_id:spiffe://example.org/spire/agent/x").unwrap()];
    let plan = Plan::of(&[], &[alias], &none(), true).unwrap();
    assert_eq!(plan.changes(), 0);
}

#[test]
fn one_entry_asked_for_by_id_and_by_contents_is_refused() {
    let present = [entry("a", "api", 1)];
    let twice = [wanted(entry("a", "api", 9)), wanted(entry("", "api", 1))];
    assert!(Plan::of(&twice, &present, &none(), false).is_err());
}

#[test]
fn limits_that_files_do_not_name_stay_and_empty_ones_take_them_away() {
    let present = [entry("a", "api", 1)];
    let there = HashMap::from([("a".to_owned(), limits(&["ledger"], 300))]);
    let plan = |asked: Option<TokenLimits>| {
        let mut wanted = wanted(entry("a", "api", 1));
        wanted.limits = asked;
        Plan::of(&[wanted], &present, &there, false).unwrap()
    };
    assert_eq!(plan(None).changes(), 0);
    assert_eq!(plan(Some(limits(&["ledger"], 300))).changes(), 0);
    let wider = plan(Some(limits(&[], 0)));
    let lines: Vec<String> = wider.lines().collect();
    let said = "    token_limits: audiences [ledger], at most 300 s -> none";
    assert_eq!(lines[1], said);
    assert_eq!(wider.update[0].limits, Some(limits(&[], 0)));
}
