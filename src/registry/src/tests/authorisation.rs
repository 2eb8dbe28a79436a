//! Who is authorised for what, against the naive walk over random forests with
//! cycles, aliases, nesting, bans and expiry; and the same comparison turned red
//! by bugs planted on purpose.

use std::collections::BTreeSet;

use super::oracle::{
    AGENTS, ENTRIES, Naive, agent, any_change, entry, entry_id, fields, id, name, node, selectors,
    td,
};
use crate::{Change, Registry, ViewDigest, delta};
use identity::{EntryId, SpiffeId, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What stands between a random change and the registry: nothing, or a bug.
type Plant = fn(Change) -> Option<Change>;

fn compare(changes: &[Change], now: Timestamp, plant: Plant) -> Result<(), TestCaseError> {
    let (mut registry, mut naive) = (Registry::new(td()), Naive::default());
    for change in changes {
        naive.apply(change);
        if let Some(change) = plant(change.clone()) {
            let _ = registry.apply(change);
        }
    }
    for who in (0..AGENTS).map(agent) {
        let expected = naive.authorised(&who, now);
        let found = registry.authorised(&who, now);
        let ids: BTreeSet<EntryId> = found.iter().map(|e| e.id.clone()).collect();
        prop_assert_eq!(found.len(), ids.len(), "an entry twice");
        prop_assert_eq!(&ids, &expected, "the set of {}", &who);
        prop_assert!(found.is_sorted_by_key(|e| (e.created_at, e.id.clone())));
        for n in 0..ENTRIES {
            let one = registry.is_authorised(&who, &entry_id(n), now);
            prop_assert_eq!(
                one.is_some(),
                expected.contains(&entry_id(n)),
                "e{} of {}",
                n,
                &who
            );
        }
    }
    Ok(())
}

fn worlds() -> impl Strategy<Value = (Vec<Change>, Timestamp)> {
    (
        prop::collection::vec(any_change(), 0..50),
        (0..10_i64).prop_map(Timestamp),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn authorisation_is_what_the_naive_walk_finds((changes, now) in worlds()) {
        compare(&changes, now, Some)?;
    }

    #[test]
    fn each_change_touches_everyone_whose_view_it_changes((changes, now) in worlds()) {
        let mut registry = Registry::new(td());
        for change in changes {
            let views = |r: &Registry| (0..AGENTS).map(|n| r.authorised(&agent(n), now)).collect::<Vec<_>>();
            let before = views(&registry);
            let touched = registry.apply(change);
            for (n, (old, new)) in (0..).zip(before.iter().zip(&views(&registry))) {
                prop_assert!(old == new || touched.contains(&agent(n)), "agent {}", n);
            }
        }
    }

    #[test]
    fn deltas_add_up_to_the_full_view((changes, now) in worlds()) {
        let mut registry = Registry::new(td());
        let mut sent = Vec::new();
        let mut kept: std::collections::BTreeMap<EntryId, std::sync::Arc<identity::Entry>> = Default::default();
        let mut digest = ViewDigest::default();
        for change in changes {
            let _ = registry.apply(change);
            let view = registry.authorised(&agent(0), now);
            let delta = delta(&sent, &view);
            prop_assert_eq!(delta.is_empty(), sent == view);
            for id in &delta.removed {
                let gone = kept.remove(id);
                prop_assert!(gone.is_some(), "removed what was not there");
                digest.remove(&gone.unwrap());
            }
            for e in delta.put {
                if let Some(old) = kept.insert(e.id.clone(), e.clone()) {
                    digest.remove(&old);
                }
                digest.add(&e);
            }
            let by_id: std::collections::BTreeMap<_, _> =
                view.iter().map(|e| (e.id.clone(), e.clone())).collect();
            prop_assert_eq!(&kept, &by_id);
            prop_assert_eq!(digest, ViewDigest::of(&view));
            sent = view;
        }
    }

    #[test]
    fn would_cycle_says_what_putting_the_entry_would_make((changes, _) in worlds()) {
        let mut registry = Registry::new(td());
        let mut naive = Naive::default();
        for change in changes {
            if let Change::PutEntry(e) = &change {
                let expected = {
                    let mut with = naive.clone();
                    with.apply(&change);
                    e.parent_id != e.spiffe_id && reaches_itself(&with, &e.spiffe_id, &e.parent_id)
                };
                prop_assert_eq!(registry.would_cycle(e), expected);
            }
            naive.apply(&change);
            let _ = registry.apply(change);
        }
    }
}

/// Whether `target` is among the SPIFFE IDs above `from`, `from` included.
fn reaches_itself(naive: &Naive, target: &SpiffeId, from: &SpiffeId) -> bool {
    let mut above: BTreeSet<SpiffeId> = [from.clone()].into();
    for _ in 0..=naive.entries.len() {
        let more: Vec<_> = naive
            .entries
            .values()
            .filter(|e| above.contains(&e.spiffe_id))
            .collect();
        above.extend(more.into_iter().map(|e| e.parent_id.clone()));
    }
    above.contains(target)
}

fn finds(plant: Plant) -> bool {
    let mut runner = TestRunner::new(Config {
        cases: 2_000,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&worlds(), |(changes, now)| compare(&changes, now, plant))
        .is_err()
}

#[test]
fn the_comparison_turns_red_when_bans_are_forgotten() {
    assert!(finds(|change| match change {
        Change::PutNode(node) if node.banned => {
            Some(Change::PutNode(std::sync::Arc::new(identity::Node {
                banned: false,
                ..(*node).clone()
            })))
        }
        other => Some(other),
    }));
}

#[test]
fn the_comparison_turns_red_when_expiry_is_forgotten() {
    assert!(finds(|change| match change {
        Change::PutEntry(e) => {
            let mut fields = (*e).clone().into_fields();
            fields.expires_at = None;
            Some(Change::PutEntry(entry(fields)))
        }
        other => Some(other),
    }));
}

#[test]
fn the_comparison_turns_red_when_a_delete_is_lost() {
    assert!(finds(
        |change| Some(change).filter(|c| !matches!(c, Change::DeleteEntry(_)))
    ));
}

#[test]
fn an_alias_matches_only_nodes_that_have_all_its_selectors() {
    let mut registry = Registry::new(td());
    let mut alias = fields(0, id("/spire/server"), name(0));
    alias.selectors = selectors(0b11);
    let _ = registry.apply(Change::PutEntry(entry(alias)));
    let _ = registry.apply(Change::PutEntry(entry(fields(1, name(0), name(1)))));
    let _ = registry.apply(Change::PutNode(node(0, selectors(0b111), false)));
    let _ = registry.apply(Change::PutNode(node(1, selectors(0b101), false)));
    let now = Timestamp(0);
    let ids = |n| {
        registry
            .authorised(&agent(n), now)
            .iter()
            .map(|e| e.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(0),
        [entry_id(1)],
        "and the alias itself is no workload's"
    );
    assert_eq!(ids(1), []);
    assert!(
        registry
            .is_authorised(&agent(0), &entry_id(0), now)
            .is_none()
    );
    assert!(
        registry
            .is_authorised(&agent(0), &entry_id(1), now)
            .is_some()
    );
    assert!(
        registry
            .is_authorised(&agent(1), &entry_id(1), now)
            .is_none()
    );
}

#[test]
fn a_renewal_touches_nobody_a_ban_touches_the_agent() {
    let mut registry = Registry::new(td());
    let first = node(0, selectors(1), false);
    assert!(
        registry
            .apply(Change::PutNode(first.clone()))
            .contains(&agent(0))
    );
    let mut renewed = (*first).clone();
    renewed.expires_at = Timestamp(99);
    assert!(registry.apply(Change::PutNode(renewed.into())).is_nobody());
    let banned = registry.apply(Change::PutNode(node(0, selectors(1), true)));
    assert_eq!(banned, crate::Touched::Agents([agent(0)].into()));
}
