//! Who can, what can, and what a change of policy changes.

use super::*;
use crate::{Change, difference};

const WHO: [&str; 3] = [
    "spiffe://example.org/checkout/web",
    "spiffe://example.org/oncall/console",
    "spiffe://example.org/search",
];

fn everybody() -> Vec<Principal> {
    WHO.iter().map(|id| principal(id, TUESDAY)).collect()
}

#[test]
fn who_can_names_the_policies_and_the_nearest_misses() {
    let engine = Engine::load(&example()).unwrap();
    let all = everybody();
    let found = engine
        .who_can(
            "payments:refund.create",
            "payments",
            &all,
            &context(TUESDAY),
        )
        .unwrap();
    let granted: Vec<&str> = found
        .iter()
        .filter(|s| s.answer.is_granted())
        .map(|s| s.spiffe_id.as_str())
        .collect();
    assert_eq!(granted, [WHO[0]]);
    let crate::Answer::Refused(refused) = &found[1].answer else {
        panic!("{found:?}");
    };
    assert_eq!(refused.nearest[0].policy, "pay-0003");
    assert!(
        engine
            .who_can("payments:refund.create", "ledger", &all, &context(TUESDAY))
            .is_none()
    );
    assert!(
        engine
            .who_can("payments:none", "payments", &all, &context(TUESDAY))
            .is_none()
    );
}

#[test]
fn what_can_lists_every_permission_of_the_catalogue() {
    let engine = Engine::load(&example()).unwrap();
    let who = principal(WHO[0], TUESDAY);
    let found = engine.what_can(&who, &context(TUESDAY));
    assert_eq!(found.len(), 6);
    assert_eq!(found.iter().filter(|s| s.answer.is_granted()).count(), 4);
}

#[test]
fn a_difference_says_who_gains_and_who_loses() {
    let old = Engine::load(&example()).unwrap();
    let mut sources = example();
    let policies = &mut sources.policies.last_mut().unwrap().text;
    *policies = policies
        .replace("Action::\"payments:charge.create\", ", "")
        .replace("when { context has breakGlass }", "when { context.pop }");
    let new = Engine::load(&sources).unwrap();
    let found = difference(&old, &new, &everybody(), &context(TUESDAY));
    let changed: Vec<&Change> = found.policies.iter().collect();
    assert_eq!(
        changed,
        [
            &Change::Changed("pay-0001".into()),
            &Change::Changed("pay-0003".into())
        ]
    );
    assert_eq!(found.catalogue, []);
    let told = |list: &[crate::Access]| -> Vec<String> {
        list.iter()
            .map(|a| format!("{} {}", a.spiffe_id, a.permission))
            .collect()
    };
    assert_eq!(
        told(&found.allowed),
        [format!("{} payments:refund.create", WHO[1])]
    );
    assert_eq!(
        told(&found.denied),
        [format!("{} payments:charge.create", WHO[0])]
    );
    assert!(difference(&old, &old, &everybody(), &context(TUESDAY)).is_empty());
}

#[test]
fn a_service_that_goes_takes_its_permissions_along() {
    let old = Engine::load(&example()).unwrap();
    let mut sources = example();
    sources
        .catalogue
        .retain(|file| !file.name.contains("payments"));
    sources
        .policies
        .retain(|file| !file.name.contains("payments"));
    let new = Engine::load(&sources).unwrap();
    let found = difference(&old, &new, &everybody(), &context(TUESDAY));
    assert!(
        found
            .catalogue
            .contains(&Change::Removed("payments".into()))
    );
    // Four that are held now, and one that break-glass would have granted.
    assert_eq!(found.denied.len(), 5);
    assert_eq!(
        found.denied[0].reason,
        "the permission is no longer in the catalogue"
    );
}
