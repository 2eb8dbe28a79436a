//! Near misses: complete, honest, nearest first.

use std::collections::BTreeSet;
use std::sync::Arc;

use identity::{Entry, Selector, Selectors, Timestamp};
use proptest::prelude::*;

use super::world::{entry, fields};
use crate::{Cache, Limits, Obstacle, Update, near_misses, svid_order};

const NOW: Timestamp = Timestamp(1000);

fn selectors(texts: &[String]) -> Selectors {
    let parsed = texts.iter().map(|t| Selector::parse(t).unwrap());
    Selectors::new(parsed.collect()).unwrap()
}

fn named(texts: &[&str]) -> Selectors {
    selectors(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
}

fn make(n: u8, change: impl FnOnce(&mut identity::EntryFields)) -> Arc<Entry> {
    let mut fields = fields(n, 1);
    change(&mut fields);
    entry(fields)
}

fn any_selectors() -> impl Strategy<Value = Selectors> {
    let fact = (0..3_u8, 0..3_u8).prop_map(|(sort, n)| match sort {
        0 => format!("unix:uid:{n}"),
        1 => format!("unix:path:/bin/{n}"),
        _ => format!("docker:label:{n}"),
    });
    prop::collection::btree_set(fact, 1..5)
        .prop_map(|set: BTreeSet<String>| selectors(&set.into_iter().collect::<Vec<_>>()))
}

fn any_entries() -> impl Strategy<Value = Vec<Arc<Entry>>> {
    let one = (any_selectors(), any::<bool>(), any::<bool>(), 0..3_u8);
    prop::collection::vec(one, 0..12).prop_map(|list| {
        let entry =
            |(n, (selectors, expired, store, hint)): (usize, (Selectors, bool, bool, u8))| {
                make(u8::try_from(n).unwrap(), |fields| {
                    fields.selectors = selectors;
                    fields.expires_at = expired.then_some(Timestamp(500));
                    fields.store_svid = store;
                    fields.hint = ["", "a", "b"][usize::from(hint)].into();
                })
            };
        list.into_iter().enumerate().map(entry).collect()
    })
}

fn matched(entries: &[Arc<Entry>], caller: &Selectors) -> Vec<Arc<Entry>> {
    let mut cache = Cache::new(Limits::default());
    let _ = cache.apply(Update::Snapshot(entries.to_vec()), NOW);
    cache.matching(caller, NOW)
}

proptest! {
    #[test]
    fn what_is_named_as_missing_is_exactly_what_would_make_it_match(
        entries in any_entries(),
        caller in any_selectors(),
    ) {
        let has = matched(&entries, &caller);
        let near = near_misses(&entries, &has, &caller, NOW, usize::MAX);
        prop_assert_eq!(near.left_out, 0);
        for miss in &near.list {
            prop_assert!(has.iter().all(|e| e.id != miss.entry.id), "what a caller has is no miss");
            match &miss.why {
                Obstacle::Lacks(lacks) => {
                    prop_assert!(!lacks.is_empty());
                    let mut helped: Vec<Selector> = caller.iter().cloned().collect();
                    for lack in lacks {
                        prop_assert!(!caller.iter().any(|s| *s == lack.wanted));
                        for instead in &lack.instead {
                            prop_assert!(caller.iter().any(|s| s == instead));
                            prop_assert_eq!(instead.kind(), lack.wanted.kind());
                        }
                        helped.push(lack.wanted.clone());
                    }
                    let all = Selectors::new(helped.clone()).unwrap();
                    prop_assert!(miss.entry.selectors.is_subset_of(&all));
                    helped.pop();
                    let but_one = Selectors::new(helped).unwrap();
                    prop_assert!(!miss.entry.selectors.is_subset_of(&but_one), "each is needed");
                }
                other => {
                    prop_assert!(miss.entry.selectors.is_subset_of(&caller));
                    match other {
                        Obstacle::Expired(at) => prop_assert!(*at <= NOW),
                        Obstacle::StoredElsewhere => prop_assert!(miss.entry.store_svid),
                        Obstacle::HintTaken(by) => prop_assert!(
                            has.iter().any(|e| e.id == *by && e.hint == miss.entry.hint)
                        ),
                        Obstacle::Lacks(_) => {}
                    }
                }
            }
        }
    }

    #[test]
    fn every_entry_is_had_near_or_far_and_the_nearest_come_first(
        entries in any_entries(),
        caller in any_selectors(),
        most in 0..6_usize,
    ) {
        let has = matched(&entries, &caller);
        let all = near_misses(&entries, &has, &caller, NOW, usize::MAX);
        let near = near_misses(&entries, &has, &caller, NOW, most);
        prop_assert_eq!(&near.list[..], &all.list[..most.min(all.list.len())]);
        prop_assert_eq!(near.list.len() + near.left_out, all.list.len());
        let lacking = |e: &Entry| e.selectors.iter().filter(|s| !caller.iter().any(|c| c == *s)).count();
        let place = |e: &Arc<Entry>| {
            let held = e.selectors.iter().count() - lacking(e);
            (lacking(e), std::cmp::Reverse(held))
        };
        for pair in all.list.windows(2) {
            let (a, b) = (&pair[0].entry, &pair[1].entry);
            let in_order = (place(a), svid_order(a)) < (place(b), svid_order(b));
            prop_assert!(in_order);
        }
        for entry in &entries {
            let is_had = has.iter().any(|e| e.id == entry.id);
            let is_near = all.list.iter().any(|m| m.entry.id == entry.id);
            let shares = lacking(entry) < entry.selectors.iter().count();
            let kind = |s: &Selector| caller.iter().any(|fact| fact.kind() == s.kind());
            let is_sibling = lacking(entry) == 1 && entry.selectors.iter().all(kind);
            prop_assert_eq!(is_near, !is_had && (shares || is_sibling));
        }
    }
}

#[test]
fn a_missing_path_is_shown_beside_the_path_there_is() {
    let wanted = make(1, |f| {
        f.selectors = named(&["unix:uid:5", "unix:path:/bin/api"])
    });
    let caller = named(&["unix:uid:5", "unix:path:/bin/sh", "unix:gid:5"]);
    let near = near_misses(&[wanted], &[], &caller, NOW, 5);
    let Obstacle::Lacks(lacks) = &near.list[0].why else {
        panic!("it lacks a path");
    };
    assert_eq!(lacks.len(), 1);
    assert_eq!(lacks[0].wanted.as_str(), "unix:path:/bin/api");
    assert_eq!(
        lacks[0].instead,
        [Selector::parse("unix:path:/bin/sh").unwrap()]
    );
}

#[test]
fn an_entry_of_an_attestor_that_said_nothing_is_not_near() {
    let alias = make(1, |f| {
        f.selectors = named(&["spiffe_id:spiffe://example.org/node"])
    });
    let caller = named(&["unix:uid:5"]);
    assert!(near_misses(&[alias], &[], &caller, NOW, 5).list.is_empty());
}
