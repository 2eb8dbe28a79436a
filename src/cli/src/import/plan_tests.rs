//! Each verdict of the plan, with its reason.

use super::*;
use crate::admin::{wire_id, wire_selector};

fn entry(id: &str, name: &str, parent: &str, selector: &str) -> types::Entry {
    types::Entry {
        id: id.into(),
        spiffe_id: Some(wire_id(&format!("spiffe://example.org{name}")).unwrap()),
        parent_id: Some(wire_id(&format!("spiffe://example.org{parent}")).unwrap()),
        selectors: vec![wire_selector(selector).unwrap()],
        ..Default::default()
    }
}

fn state(entries: Vec<types::Entry>) -> State {
    State {
        trust_domain: "example.org".into(),
        bundles: Vec::new(),
        entries,
        longest: (86_400, 3_600),
    }
}

/// The verdict on one entry, where `here` is what this server has.
fn verdict(there: types::Entry, here: Vec<types::Entry>) -> (Action, String) {
    let plan = Plan::of(&state(vec![there]), &state(here)).unwrap();
    let item = plan.items.into_iter().next().unwrap();
    (item.action, item.why)
}

#[test]
fn what_is_new_is_created_and_what_is_the_same_is_not_made_twice() {
    let web = || entry("web", "/web", "/node", "unix:uid:1");
    assert_eq!(verdict(web(), vec![]), (Action::Create, String::new()));
    assert_eq!(
        verdict(web(), vec![web()]),
        (Action::Present, String::new())
    );
    // The id plays no part, and what differs is said.
    let mut other = web();
    other.id = "mine".into();
    other.x509_svid_ttl = 60;
    let (action, why) = verdict(web(), vec![other]);
    assert_eq!(action, Action::Present);
    assert_eq!(why, "as entry mine, which differs in x509_ttl");
}

#[test]
fn each_refusal_says_why() {
    let taken = entry("web", "/other", "/node", "unix:uid:1");
    let (action, why) = verdict(entry("web", "/web", "/node", "unix:uid:1"), vec![taken]);
    assert_eq!(action, Action::Refuse);
    assert!(why.contains("has this id"), "{why}");

    let mut control = entry("a", "/a", "/node", "unix:uid:1");
    control.hint = "bell\u{7}".into();
    let (action, why) = verdict(control, vec![]);
    assert_eq!(action, Action::Refuse);
    assert!(why.contains("control character"), "{why}");

    let agent = "/spire/agent/join_token/abc";
    let selector = format!("spiffe_id:spiffe://example.org{agent}");
    let (action, why) = verdict(entry("a", "/node", agent, &selector), vec![]);
    assert_eq!(action, Action::Refuse);
    assert!(why.contains("token create"), "{why}");
}

#[test]
fn an_entry_may_rely_on_a_bundle_of_the_same_import() {
    let mut far = entry("a", "/a", "/node", "unix:uid:1");
    far.federates_with = vec!["other.test".into()];
    let (action, why) = verdict(far.clone(), vec![]);
    assert_eq!(action, Action::Create);
    assert!(why.contains("other.test"), "{why}");
    let mut there = state(vec![far]);
    there.bundles = vec![types::Bundle {
        trust_domain: "other.test".into(),
        ..Default::default()
    }];
    let plan = Plan::of(&there, &state(vec![])).unwrap();
    assert_eq!(plan.count(Action::Create), 2, "{plan:?}");
    assert!(plan.items.iter().all(|item| item.why.is_empty()));
}

#[test]
fn entries_under_a_token_agent_draw_a_note() {
    let under = entry("a", "/a", "/spire/agent/join_token/abc", "unix:uid:1");
    let (action, why) = verdict(under, vec![]);
    assert_eq!(action, Action::Create);
    assert!(why.contains("another ID here"), "{why}");
}

#[test]
fn d4_what_lives_shorter_here_than_the_entry_says_is_told() {
    let mut long = entry("web", "/web", "/node", "unix:uid:1");
    (long.x509_svid_ttl, long.jwt_svid_ttl) = (3_600, 7_200);
    let (action, why) = verdict(long, vec![]);
    assert_eq!(action, Action::Create);
    assert_eq!(
        why,
        "its JWT-SVIDs live 3600 s here, not 7200 s (svid.max_jwt_ttl)"
    );
}
