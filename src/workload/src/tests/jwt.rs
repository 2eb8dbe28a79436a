//! The JWT cache: exact audiences, half life, bounds, shares, distrust.

use std::sync::Arc;

use identity::{JwtSvid, Timestamp};
use proptest::prelude::*;

use super::world::{bundle, entry, entry_id, fields, td};
use crate::{Cache, JwtHit, Limits, Room, Update};

fn token(n: u8, key_id: &str, life: i64) -> Arc<JwtSvid> {
    Arc::new(JwtSvid {
        spiffe_id: fields(n, 1).spiffe_id,
        token: "a.b.c".into(),
        issued_at: Timestamp(0),
        expires_at: Timestamp(life),
        key_id: key_id.into(),
    })
}

fn audiences(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn cache_with(entries: u8, items: usize) -> Cache {
    let bytes = 1_000_000;
    cache_of(entries, Room { items, bytes })
}

fn cache_of(entries: u8, jwt_svids: Room) -> Cache {
    let mut cache = Cache::new(Limits {
        jwt_svids,
        ..Limits::default()
    });
    let put = (0..entries).map(|n| entry(fields(n, 1))).collect();
    let _ = cache.apply(Update::Snapshot(put), Timestamp(0));
    cache
}

fn store(cache: &mut Cache, n: u8, list: &[&str], svid: Arc<JwtSvid>) {
    let e = cache.entry(&entry_id(n)).unwrap().clone();
    cache.store_jwt(&e, &audiences(list), svid);
}

#[test]
fn a_token_answers_exactly_the_audiences_it_was_asked_for() {
    let mut cache = cache_with(2, 10);
    store(&mut cache, 0, &["a", "b"], token(0, "k", 100));
    let mut hit = |n, list: &[&str]| {
        cache
            .jwt(&entry_id(n), &audiences(list), Timestamp(0))
            .is_some()
    };
    assert!(hit(0, &["a", "b"]));
    assert!(
        !hit(0, &["b", "a"]) && !hit(0, &["a"]) && !hit(0, &["a", "b", "c"]) && !hit(0, &["ab"])
    );
    assert!(!hit(1, &["a", "b"]));
}

#[test]
fn it_is_fresh_for_half_its_life_then_aging_then_gone() {
    let mut cache = cache_with(1, 10);
    store(&mut cache, 0, &["a"], token(0, "k", 100));
    let mut at = |now| cache.jwt(&entry_id(0), &audiences(&["a"]), Timestamp(now));
    assert!(matches!(at(49), Some(JwtHit::Fresh(_))));
    assert!(matches!(at(50), Some(JwtHit::Aging(_))));
    assert!(matches!(at(99), Some(JwtHit::Aging(_))));
    assert_eq!(at(100), None);
    assert_eq!(cache.counts().jwt_svids, 0);
}

#[test]
fn a_changed_or_removed_entry_takes_its_tokens_with_it() {
    let mut cache = cache_with(2, 10);
    store(&mut cache, 0, &["a"], token(0, "k", 100));
    store(&mut cache, 1, &["a"], token(1, "k", 100));
    let asked = cache.entry(&entry_id(0)).unwrap().clone();
    let mut changed = fields(0, 1);
    changed.spiffe_id = fields(7, 1).spiffe_id;
    let update = Update::Delta {
        put: vec![entry(changed)],
        removed: vec![entry_id(1)],
    };
    let _ = cache.apply(update, Timestamp(0));
    assert_eq!(cache.counts().jwt_svids, 0);
    cache.store_jwt(&asked, &audiences(&["a"]), token(0, "k", 100));
    assert_eq!(
        cache.counts().jwt_svids,
        0,
        "a late answer for the old identity is dropped"
    );
}

#[test]
fn tokens_of_a_key_that_is_tainted_or_gone_are_dropped() {
    let mut cache = cache_with(1, 10);
    let bundles = |own| Update::Bundles {
        own,
        federated: vec![],
    };
    let _ = cache.apply(bundles(bundle(td(), 1, 1)), Timestamp(0));
    store(&mut cache, 0, &["old"], token(0, "1", 100));
    store(
        &mut cache,
        0,
        &["not yet in the bundle"],
        token(0, "9", 100),
    );
    let mut tainted = (*bundle(td(), 1, 1)).clone();
    tainted.jwt_authorities[0].tainted = true;
    let _ = cache.apply(bundles(tainted.into()), Timestamp(0));
    assert_eq!(cache.counts().jwt_svids, 1);
    store(&mut cache, 0, &["old"], token(0, "1", 100));
    let _ = cache.apply(bundles(bundle(td(), 1, 2)), Timestamp(0));
    assert_eq!(cache.counts().jwt_svids, 1);
    assert!(
        cache
            .jwt(&entry_id(0), &audiences(&["old"]), Timestamp(0))
            .is_none()
    );
}

#[test]
fn a9_one_entrys_flood_costs_no_other_entry_its_token_and_bytes_are_bounded() {
    let room = Room {
        items: 100,
        bytes: 64 * 1024,
    };
    let mut cache = cache_of(3, room);
    store(&mut cache, 0, &["mine"], token(0, "k", 100));
    for n in 0..5_000 {
        // Each list is another, and long ones cost more.
        let long = format!("{n}-{}", "x".repeat(n % 3 * 1_000));
        store(&mut cache, 1, &[&long], token(1, "k", 100));
        store(&mut cache, 2, &["also mine"], token(2, "k", 100));
        let counts = cache.counts();
        assert!(counts.jwt_svids <= room.items && counts.jwt_bytes <= room.bytes);
    }
    let mut held = |n, name: &str| {
        let names = audiences(&[name]);
        cache.jwt(&entry_id(n), &names, Timestamp(0)).is_some()
    };
    assert!(held(0, "mine"), "a flood took another entry's token");
    assert!(held(2, "also mine"));
    let last = format!("4999-{}", "x".repeat(1_000));
    assert!(held(1, &last));
}

proptest! {
    #[test]
    fn the_least_recently_used_of_the_heaviest_goes_first(
        max in 1..5_usize,
        uses in prop::collection::vec((0..3_u8, 0..3_usize, any::<bool>()), 0..60),
    ) {
        let mut cache = cache_with(3, max);
        // Most recently used last; lists of equal length weigh the same.
        let mut model: Vec<(u8, usize)> = Vec::new();
        for (n, list, put) in uses {
            let names = [&["a"][..], &["b"], &["c"]][list];
            let known = model.iter().position(|key| *key == (n, list));
            if put {
                store(&mut cache, n, names, token(n, "k", 100));
            } else {
                let hit = cache.jwt(&entry_id(n), &audiences(names), Timestamp(0));
                prop_assert_eq!(hit.is_some(), known.is_some());
            }
            if let Some(at) = known {
                model.remove(at);
            }
            if put || known.is_some() {
                model.push((n, list));
            }
            while model.len() > max {
                let weight = |n: u8| model.iter().filter(|(of, _)| *of == n).count();
                let heaviest = (0..3).max_by_key(|n| (weight(*n), *n)).unwrap();
                let oldest = model.iter().position(|(of, _)| *of == heaviest).unwrap();
                model.remove(oldest);
            }
            prop_assert_eq!(cache.counts().jwt_svids, model.len());
        }
    }
}
