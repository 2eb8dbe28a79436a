//! Listings against a plain scan: filters, pages, duplicates, expiry.

use super::oracle::{
    ENTRIES, Naive, agent, any_change, entry, entry_id, fields, id, name, selectors, td,
};
use crate::{Change, EntryFilter, Match, NodeFilter, Registry};
use identity::{EntryId, Selectors, Timestamp, TrustDomain};
use proptest::prelude::*;

fn any_match() -> impl Strategy<Value = Match> {
    prop_oneof![
        Just(Match::Exact),
        Just(Match::Subset),
        Just(Match::Superset),
        Just(Match::Any)
    ]
}

fn any_filter() -> impl Strategy<Value = EntryFilter> {
    let domains = |bits: u8| -> Vec<TrustDomain> {
        let set = (0..2).filter(move |b| bits & (1 << b) != 0);
        set.map(|b| TrustDomain::parse(&format!("fed{b}.org")).unwrap())
            .collect()
    };
    let selectors = prop::option::weighted(0.4, (any_match(), (1..16_u8).prop_map(selectors)));
    let federates = prop::option::weighted(0.4, (any_match(), (0..4_u8).prop_map(domains)));
    let ids = (
        prop::option::weighted(0.3, 0..6_u8),
        prop::option::weighted(0.3, 0..9_u8),
    );
    (
        ids,
        selectors,
        federates,
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::weighted(0.2, Just("a")),
    )
        .prop_map(
            |((gives, parent), selectors, federates_with, downstream, hint)| EntryFilter {
                spiffe_id: gives.map(name),
                parent_id: parent.map(|n| {
                    if n < 4 {
                        agent(n)
                    } else if n < 8 {
                        name(n - 4)
                    } else {
                        id("/spire/server")
                    }
                }),
                selectors,
                federates_with,
                hint: hint.map(Into::into),
                downstream,
            },
        )
}

fn holds<T: PartialEq>(how: Match, record: &[T], asked: &[T]) -> bool {
    let within = |a: &[T], b: &[T]| a.iter().all(|x| b.contains(x));
    match how {
        Match::Exact => within(record, asked) && within(asked, record),
        Match::Subset => within(record, asked) && !record.is_empty(),
        Match::Superset => within(asked, record),
        Match::Any => record.iter().any(|x| asked.contains(x)),
    }
}

fn plainly(filter: &EntryFilter, e: &identity::Entry) -> bool {
    let mut ok = true;
    if let Some(id) = &filter.spiffe_id {
        ok &= e.spiffe_id == *id;
    }
    if let Some(id) = &filter.parent_id {
        ok &= e.parent_id == *id;
    }
    if let Some((how, s)) = &filter.selectors {
        ok &= holds(*how, e.selectors.as_slice(), s.as_slice());
    }
    if let Some((how, t)) = &filter.federates_with {
        ok &= holds(*how, &e.federates_with, t);
    }
    if let Some(hint) = &filter.hint {
        ok &= e.hint == *hint;
    }
    if let Some(d) = filter.downstream {
        ok &= e.downstream == d;
    }
    ok
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn pages_put_together_are_the_plain_scan(
        changes in prop::collection::vec(any_change(), 0..40),
        filter in any_filter(),
        limit in 1..5_usize,
    ) {
        let (mut registry, mut naive) = (Registry::new(td()), Naive::default());
        for change in changes {
            naive.apply(&change);
            let _ = registry.apply(change);
        }
        let expected: Vec<EntryId> =
            naive.entries.values().filter(|e| plainly(&filter, e)).map(|e| e.id.clone()).collect();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = registry.list_entries(&filter, after.as_ref(), limit);
            prop_assert!(page.items.len() <= limit);
            found.extend(page.items.iter().map(|e| e.id.clone()));
            after = page.next;
            if after.is_none() { break; }
            prop_assert_eq!(page.items.len(), limit);
        }
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(registry.count_entries(&filter), expected.len());
        prop_assert_eq!(registry.entries().count(), naive.entries.len());
        prop_assert_eq!(registry.counts().entries, naive.entries.len());
        let all = registry.list_nodes(&NodeFilter::default(), None, usize::MAX);
        prop_assert_eq!(all.items, naive.nodes.into_values().collect::<Vec<_>>());
    }

    #[test]
    fn duplicates_and_expiry_are_found(
        changes in prop::collection::vec(any_change(), 0..60),
        now in 0..10_i64,
    ) {
        let (mut registry, mut naive) = (Registry::new(td()), Naive::default());
        for change in changes {
            if let Change::PutEntry(e) = &change {
                let twins = naive.entries.values().filter(|o| o.id != e.id && o.is_same_registration(e));
                let twins: Vec<_> = twins.cloned().collect();
                match registry.find_same(e) {
                    Some(found) => prop_assert!(twins.contains(found)),
                    None => prop_assert!(twins.is_empty()),
                }
            }
            naive.apply(&change);
            let _ = registry.apply(change);
        }
        let mut expired = registry.expired(Timestamp(now), usize::MAX);
        expired.sort();
        let plain = naive.entries.values().filter(|e| e.is_expired(Timestamp(now)));
        prop_assert_eq!(expired, plain.map(|e| e.id.clone()).collect::<Vec<_>>());
    }
}

#[test]
fn a_cursor_outlives_its_entry() {
    let mut registry = Registry::new(td());
    for n in 0..ENTRIES {
        let _ = registry.apply(Change::PutEntry(entry(fields(n, agent(0), name(n % 6)))));
    }
    let first = registry.list_entries(&EntryFilter::default(), None, 4);
    let cursor = first.next.unwrap();
    let _ = registry.apply(Change::DeleteEntry(cursor.clone()));
    let second = registry.list_entries(&EntryFilter::default(), Some(&cursor), 4);
    assert_eq!(
        second.items.first().map(|e| e.id.clone()),
        Some(entry_id(4))
    );
}

#[test]
fn nodes_are_filtered() {
    let mut registry = Registry::new(td());
    for n in 0..4 {
        let _ = registry.apply(Change::PutNode(super::oracle::node(
            n,
            selectors(n),
            n == 3,
        )));
    }
    let count = |filter: NodeFilter| registry.list_nodes(&filter, None, 100).items.len();
    assert_eq!(
        count(NodeFilter {
            attestor: Some("even".into()),
            ..Default::default()
        }),
        2
    );
    assert_eq!(
        count(NodeFilter {
            banned: Some(true),
            ..Default::default()
        }),
        1
    );
    assert_eq!(
        count(NodeFilter {
            can_reattest: Some(true),
            ..Default::default()
        }),
        2
    );
    assert_eq!(
        count(NodeFilter {
            expires_before: Some(Timestamp(2)),
            ..Default::default()
        }),
        2
    );
    let asked: Selectors = selectors(0b01);
    let superset = NodeFilter {
        selectors: Some((Match::Superset, asked)),
        ..Default::default()
    };
    assert_eq!(count(superset), 2);
}

#[test]
fn siblings_share_the_memory_of_what_they_have_in_common() {
    let mut registry = Registry::new(td());
    for n in 0..3 {
        let mut fields = fields(n, agent(0), name(n));
        fields.parent_id = agent(0);
        fields.selectors = selectors(0b11 << n);
        let _ = registry.apply(Change::PutEntry(entry(fields)));
    }
    let of = |n| registry.entry(&entry_id(n)).unwrap();
    let parent = |n| of(n).parent_id.as_str().as_ptr();
    assert!(parent(0) == parent(1) && parent(1) == parent(2));
    let common = |n| {
        let mut all = of(n).selectors.iter();
        all.find(|s| s.value() == "1").map(|s| s.as_str().as_ptr())
    };
    assert_eq!(common(0), common(1));
}
