//! Callers of whom something could not be found out: given is what they would be
//! given whatever that is.

use std::collections::BTreeSet;
use std::sync::Arc;

use identity::{Entry, EntryId, Selector, Selectors, Timestamp};
use proptest::prelude::*;

use super::world::{bundle, entry, fields, issued, selectors, td};
use crate::{Cache, Caller, Jitter, Limits, State, Update, Withheld};

const NOW: Timestamp = Timestamp(0);
const AWAY: Withheld = Withheld("u");

/// Selectors of the attestor `t`, and of `u`, which may be away.
fn both(t: u8, u: u8) -> Selectors {
    let set = (0..8_u8).filter(|n| u & (1 << n) != 0);
    let of_u = set.map(|n| Selector::new("u", &n.to_string()).unwrap());
    let all = selectors(t).iter().cloned().chain(of_u).collect();
    Selectors::new(all).unwrap()
}

fn make(n: u8, t: u8, u: u8, created: i64, hint: &str) -> Arc<Entry> {
    let mut fields = fields(n, t);
    fields.selectors = both(t, u);
    fields.created_at = Timestamp(created);
    fields.hint = hint.into();
    entry(fields)
}

fn cache(entries: &[Arc<Entry>]) -> Cache {
    let mut cache = Cache::new(Limits::default());
    let own = bundle(td(), 1, 1);
    let federated = vec![];
    let _ = cache.apply(Update::Bundles { own, federated }, NOW);
    put(&mut cache, entries);
    cache
}

fn put(cache: &mut Cache, entries: &[Arc<Entry>]) {
    let update = Update::Delta {
        put: entries.to_vec(),
        removed: vec![],
    };
    let _ = cache.apply(update, NOW);
    for e in entries {
        let _ = cache.store_x509(e, issued(e, 1, 0, 100), Jitter::NONE, NOW);
    }
}

fn partial(t: u8) -> Caller {
    Caller::new(selectors(t), vec!["u"])
}

fn given(entries: &[Arc<Entry>], caller: &Caller) -> Result<Vec<String>, Withheld> {
    let given = cache(entries).resolve(caller, NOW)?;
    Ok(given.iter().map(|e| e.id.to_string()).collect())
}

#[test]
fn what_needs_nothing_of_the_missing_attestor_is_served() {
    let entries = [make(1, 1, 0, 1, ""), make(2, 1, 1, 2, "")];
    assert_eq!(given(&entries, &partial(1)), Ok(vec!["e1".into()]));
}

#[test]
fn whoever_may_be_something_is_not_told_to_be_nothing() {
    let entries = [make(1, 0, 1, 1, "")];
    assert_eq!(given(&entries, &partial(1)), Err(AWAY));
    // Nothing of what is missing would help this one.
    let entries = [make(1, 2, 1, 1, "")];
    assert_eq!(given(&entries, &partial(1)), Ok(vec![]));
}

#[test]
fn no_other_identity_becomes_the_default_for_a_missing_attestor() {
    let entries = [make(1, 1, 0, 2, ""), make(2, 1, 1, 1, "")];
    assert_eq!(given(&entries, &partial(1)), Err(AWAY));
    let entries = [make(1, 1, 0, 1, ""), make(2, 1, 1, 2, "default")];
    assert_eq!(given(&entries, &partial(1)), Err(AWAY));
}

#[test]
fn what_does_not_count_takes_no_hint_away() {
    let admin = make(1, 1, 0, 0, "db");
    let plain = make(2, 1, 0, 1, "db");
    let cache = cache(&[Arc::clone(&admin), Arc::clone(&plain)]);
    let among = |caller: &Caller| {
        let given = cache.resolve_among(caller, NOW, |entry| entry.id != admin.id);
        given
            .unwrap()
            .iter()
            .map(|e| e.id.clone())
            .collect::<Vec<_>>()
    };
    let caller = Caller::from(&selectors(1));
    assert_eq!(cache.resolve(&caller, NOW).unwrap()[0].id, admin.id);
    let other = std::slice::from_ref(&plain.id);
    assert_eq!(among(&caller), other);
    assert_eq!(among(&partial(1)), other);
}

#[test]
fn an_open_view_follows_what_may_become_its_default() {
    let mut cache = cache(&[make(1, 1, 0, 2, "")]);
    let (view, _) = cache.subscribe(partial(1), NOW).unwrap();
    assert!(matches!(cache.x509(view), State::Ready(_)));
    put(&mut cache, &[make(2, 1, 1, 1, "")]);
    assert!(matches!(cache.x509(view), State::Withheld(AWAY)));
    let gone = Update::Delta {
        put: vec![],
        removed: vec![super::world::entry_id(2)],
    };
    let _ = cache.apply(gone, NOW);
    assert!(matches!(cache.x509(view), State::Ready(_)));
}

proptest! {
    // Against every way in which what is missing may turn out.
    #[test]
    fn what_is_given_is_what_would_be_given_anyway(
        made in prop::collection::vec((1_u8..8, 0_u8..4, 0_i64..4, 0_usize..4), 0..6),
        t in 0_u8..8,
    ) {
        let hints = ["", "", "h", "default"];
        let entries: Vec<Arc<Entry>> = (0..).zip(&made)
            .map(|(n, (t, u, created, hint))| make(n, *t, *u, *created, hints[*hint]))
            .collect();
        let cache = cache(&entries);
        let ways: Vec<Vec<Arc<Entry>>> = (0..4)
            .map(|u| cache.matching(&both(t, u), NOW))
            .collect();
        let first = |way: &[Arc<Entry>]| way.first().map(|e| e.id.clone());
        let firsts: BTreeSet<Option<EntryId>> = ways.iter().map(|way| first(way)).collect();
        match cache.resolve(&partial(t), NOW) {
            Ok(given) => {
                prop_assert_eq!(firsts, BTreeSet::from([first(&given)]));
                let in_all = |e: &&Arc<Entry>| ways.iter().all(|way| way.contains(e));
                let anyway: Vec<_> = ways[0].iter().filter(in_all).cloned().collect();
                prop_assert_eq!(given, anyway);
            }
            Err(_) => prop_assert!(firsts.len() > 1, "withheld without a reason"),
        }
    }
}
