//! Selectors: what is one, and when a set is part of another.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::{ConditionIndex, FactIndex, MAX_SELECTORS, Selector, SelectorError, Selectors};

#[test]
fn the_type_ends_at_the_first_colon() {
    let selector = Selector::parse("unix:path:/usr/bin/a:b").unwrap();
    assert_eq!(
        (selector.kind(), selector.value()),
        ("unix", "path:/usr/bin/a:b")
    );
    assert_eq!(selector.as_str(), "unix:path:/usr/bin/a:b");
}

#[test]
fn bad_selectors_say_what_is_missing() {
    assert_eq!(Selector::parse("unix"), Err(SelectorError::NoColon));
    assert_eq!(Selector::parse(""), Err(SelectorError::NoColon));
    assert_eq!(Selector::parse(":x"), Err(SelectorError::EmptyType));
    assert_eq!(
        Selector::parse("unix:"),
        Err(SelectorError::EmptyValue("unix".into()))
    );
    assert_eq!(Selector::new("a:b", "c"), Err(SelectorError::BadType));
    assert_eq!(Selector::new("a\n", "c"), Err(SelectorError::BadType));
    assert_eq!(
        Selector::new(&"a".repeat(256), "c"),
        Err(SelectorError::BadType)
    );
    assert_eq!(
        Selector::new("a", "b\u{7f}"),
        Err(SelectorError::BadValue("a".into()))
    );
    assert_eq!(
        Selector::new("a", &"v".repeat(4097)),
        Err(SelectorError::BadValue("a".into()))
    );
    assert!(Selector::new(&"a".repeat(255), &"v".repeat(4096)).is_ok());
}

#[test]
fn sets_are_bounded() {
    let some = |n: usize| {
        (0..n)
            .map(|i| Selector::new("t", &i.to_string()).unwrap())
            .collect()
    };
    assert_eq!(
        Selectors::new(some(MAX_SELECTORS)).unwrap().len(),
        MAX_SELECTORS
    );
    assert_eq!(
        Selectors::new(some(MAX_SELECTORS + 1)),
        Err(SelectorError::TooMany(MAX_SELECTORS + 1))
    );
}

fn set(numbers: &BTreeSet<u8>) -> Selectors {
    Selectors::new(
        numbers
            .iter()
            .map(|n| Selector::new("t", &n.to_string()).unwrap())
            .collect(),
    )
    .unwrap()
}

fn numbers() -> impl Strategy<Value = BTreeSet<u8>> {
    prop::collection::btree_set(0..12_u8, 0..6)
}

proptest! {
    #[test]
    fn a_set_is_a_subset_as_sets_are(a in numbers(), b in numbers()) {
        prop_assert_eq!(set(&a).is_subset_of(&set(&b)), a.is_subset(&b));
        prop_assert_eq!(set(&a) == set(&b), a == b);
        for n in 0..12 {
            let one = Selector::new("t", &n.to_string()).unwrap();
            prop_assert_eq!(set(&a).contains(&one), a.contains(&n));
        }
    }

    #[test]
    fn order_and_repeats_do_not_matter(a in prop::collection::vec(0..12_u8, 0..20)) {
        let list = |a: &[u8]| a.iter().map(|n| Selector::new("t", &n.to_string()).unwrap()).collect();
        let mut turned = a.clone();
        turned.reverse();
        turned.extend_from_slice(&a);
        prop_assert_eq!(Selectors::new(list(&a)), Selectors::new(list(&turned)));
    }

    #[test]
    fn the_indexes_find_what_a_scan_finds(
        sets in prop::collection::vec(numbers(), 0..12),
        gone in prop::collection::vec(any::<bool>(), 12),
        asked in numbers(),
    ) {
        let (mut conditions, mut facts) = (ConditionIndex::default(), FactIndex::default());
        for (key, numbers) in sets.iter().enumerate() {
            conditions.insert(key, &set(numbers));
            facts.insert(&key, &set(numbers));
        }
        let mut left = Vec::new();
        for ((key, numbers), gone) in sets.iter().enumerate().zip(gone) {
            if gone {
                conditions.remove(&key, &set(numbers));
                facts.remove(&key, &set(numbers));
            } else {
                left.push((key, numbers));
            }
        }
        let of = |key: &usize| set(&sets[*key]);
        let asked_set = set(&asked);
        let mut found: Vec<usize> =
            conditions.candidates(&asked_set).filter(|k| of(k).is_subset_of(&asked_set)).collect();
        found.sort_unstable();
        let scan = |wanted: &dyn Fn(&BTreeSet<u8>) -> bool| -> Vec<usize> {
            left.iter().filter(|(_, n)| wanted(n)).map(|(k, _)| *k).collect()
        };
        prop_assert_eq!(found, scan(&|n| !n.is_empty() && n.is_subset(&asked)));
        let found: Vec<usize> = facts
            .candidates(&asked_set)
            .into_iter()
            .flatten()
            .filter(|k| asked_set.is_subset_of(&of(k)))
            .copied()
            .collect();
        prop_assert_eq!(found, scan(&|n| !asked.is_empty() && n.is_superset(&asked)));
    }
}
