//! The order SVIDs come in, as an admin steers it.

use identity::Timestamp;

use super::world::{bundle, entry, entry_id, fields, issued, selectors, td};
use crate::{Cache, Jitter, Limits, Update};

/// The ids and hints a caller with selector 0 is delivered, after all is issued.
fn delivered(entries: &[(u8, i64, &str)]) -> Vec<String> {
    let mut cache = Cache::new(Limits::default());
    let now = Timestamp(0);
    let own = bundle(td(), 1, 1);
    let _ = cache.apply(
        Update::Bundles {
            own,
            federated: vec![],
        },
        now,
    );
    let make = |(n, created, hint): &(u8, i64, &str)| {
        let mut fields = fields(*n, 1);
        fields.created_at = Timestamp(*created);
        fields.hint = (*hint).into();
        entry(fields)
    };
    let put: Vec<_> = entries.iter().map(make).collect();
    let _ = cache.apply(
        Update::Delta {
            put: put.clone(),
            removed: vec![],
        },
        now,
    );
    for e in &put {
        let _ = cache.store_x509(e, issued(e, 1, 0, 100), Jitter::NONE, now);
    }
    let (view, _) = cache.subscribe(&selectors(1), now).unwrap();
    let state = cache.x509(view);
    let identities = &state.ready().unwrap().identities;
    identities.iter().map(|i| i.entry.id.to_string()).collect()
}

#[test]
fn the_oldest_comes_first_and_a_second_entry_does_not_change_that() {
    assert_eq!(delivered(&[(7, 10, "")]), ["e7"]);
    assert_eq!(delivered(&[(7, 10, ""), (1, 20, "")]), ["e7", "e1"]);
}

#[test]
fn entries_of_one_second_are_ordered_by_id() {
    assert_eq!(
        delivered(&[(2, 10, ""), (1, 10, ""), (3, 10, "")]),
        ["e1", "e2", "e3"]
    );
}

#[test]
fn the_hint_default_puts_an_entry_first() {
    assert_eq!(
        delivered(&[(1, 10, "x"), (2, 20, "default"), (3, 5, "")]),
        ["e2", "e3", "e1"]
    );
    // Exactly that word.
    assert_eq!(
        delivered(&[(1, 10, ""), (2, 20, "Default"), (3, 30, "default-2")]),
        ["e1", "e2", "e3"]
    );
}

#[test]
fn of_equal_hints_exactly_the_first_is_delivered() {
    assert_eq!(
        delivered(&[(1, 30, "a"), (2, 10, "a"), (3, 20, "a")]),
        ["e2"]
    );
    assert_eq!(
        delivered(&[(1, 20, "default"), (2, 10, "default"), (3, 5, "")]),
        ["e2", "e3"]
    );
    assert_eq!(
        delivered(&[(1, 20, ""), (2, 10, "")]),
        ["e2", "e1"],
        "no hint is no repeat"
    );
}

#[test]
fn matching_does_not_depend_on_arrival() {
    let mut cache = Cache::new(Limits::default());
    for n in [3, 1, 2] {
        let _ = cache.apply(
            Update::Delta {
                put: vec![entry(fields(n, 1))],
                removed: vec![],
            },
            Timestamp(0),
        );
    }
    let ids: Vec<_> = cache
        .matching(&selectors(1), Timestamp(0))
        .iter()
        .map(|e| e.id.clone())
        .collect();
    assert_eq!(ids, [entry_id(1), entry_id(2), entry_id(3)]);
}
