//! Everything that can happen to a cache, at random.

use std::sync::Arc;

use identity::{Entry, Timestamp};
use proptest::prelude::*;

use super::world::{entry, fed, fields, td};

#[derive(Debug, Clone)]
pub(super) enum Event {
    Put(Vec<Arc<Entry>>),
    Remove(u8),
    Snapshot(Vec<Arc<Entry>>),
    Bundles(u8, u8, [(u8, u8); 2]),
    Open(u8),
    Close(usize),
    TakeDue,
    Issue(u8, i64, u32),
    Fail(u8, u32),
    Advance(i64),
}

fn any_entry() -> impl Strategy<Value = Arc<Entry>> {
    let what = (0..6_u8, 1..8_u8, 0..4_u8, 0..4_u8, 0..3_i64);
    let flags = (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
        0..3_u8,
        0..4_u8,
    );
    (what, flags, prop::option::weighted(0.2, 1..200_i64)).prop_map(|(what, flags, expires)| {
        let (n, bits, hint, federated, created) = what;
        let (lazy, store, name, dns) = flags;
        let mut fields = fields(n, bits);
        fields.hint = ["", "default", "a", "b"][usize::from(hint)].into();
        let names = (0..2).filter(|b| federated & (1 << b) != 0);
        fields.federates_with = names.map(fed).collect();
        fields.created_at = Timestamp(created);
        fields.disable_x509_prefetch = lazy;
        fields.store_svid = store;
        if name > 0 {
            fields.spiffe_id = identity::SpiffeId::new(&td(), &format!("/x/{name}")).unwrap();
        }
        if dns == 0 {
            fields.dns_names = vec!["db.example.org".into()];
        }
        fields.expires_at = expires.map(Timestamp);
        entry(fields)
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let several = || prop::collection::vec(any_entry(), 0..4);
    let two = (0..3_u8, 0..3_u8);
    prop_oneof![
        5 => several().prop_map(Event::Put),
        2 => (0..6_u8).prop_map(Event::Remove),
        1 => several().prop_map(Event::Snapshot),
        2 => (0..4_u8, 0..3_u8, two.clone(), two).prop_map(|(x, j, a, b)| Event::Bundles(x, j, [a, b])),
        3 => (1..8_u8).prop_map(Event::Open),
        1 => (0..8_usize).prop_map(Event::Close),
        3 => Just(Event::TakeDue),
        6 => (0..6_u8, 1..400_i64, any::<u32>()).prop_map(|(n, life, j)| Event::Issue(n, life, j)),
        2 => (0..6_u8, any::<u32>()).prop_map(|(n, j)| Event::Fail(n, j)),
        3 => (0..150_i64).prop_map(Event::Advance),
    ]
}

pub(super) fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(any_event(), 0..60)
}
