//! When SVIDs are renewed: half life, jitter, back-off, in flight, taint.

use identity::{Seconds, Timestamp};
use proptest::prelude::*;

use super::world::{entry, entry_id, fields, issued, selectors};
use crate::{Cache, Jitter, Limits, Update};

fn cache_with(count: u8) -> Cache {
    let mut cache = Cache::new(Limits::default());
    let put = (0..count).map(|n| entry(fields(n, 1))).collect();
    let effects = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        Timestamp(0),
    );
    assert!(effects.reschedule);
    cache
}

fn take(cache: &mut Cache, now: i64) -> Vec<String> {
    let taken = cache.take_due(Timestamp(now), 500);
    taken.iter().map(|e| e.id.to_string()).collect()
}

proptest! {
    #[test]
    fn renewal_is_due_at_half_life_give_or_take_a_tenth(life in 2..1_000_000_i64, jitter: u32) {
        let mut cache = cache_with(1);
        let e = cache.entry(&entry_id(0)).unwrap().clone();
        let now = 1_000;
        let _ = cache.store_x509(&e, issued(&e, 1, now, life), Jitter(jitter), Timestamp(now));
        let due = cache.next_due().unwrap().0 - now;
        prop_assert!(due >= life / 2 - life / 10 && due <= life / 2 + life / 10 + 1, "{}", due);
    }

    #[test]
    fn pauses_grow_and_stay_within_their_bounds(failures in 1..40_u32, jitter: u32) {
        let mut cache = cache_with(1);
        let mut now = 0;
        for attempt in 0..failures {
            prop_assert_eq!(take(&mut cache, now).len(), 1);
            let _ = cache.fail_x509(&entry_id(0), Jitter(jitter), Timestamp(now));
            let pause = cache.next_due().unwrap().0 - now;
            let full = (1_i64 << attempt.min(16)).min(60);
            prop_assert!(pause >= (full / 2).max(1) && pause <= full, "{} of {}", pause, full);
            now += pause;
        }
    }
}

#[test]
fn jitter_spreads_over_the_whole_window() {
    let mut dues = Vec::new();
    for jitter in [0, u32::MAX / 2, u32::MAX] {
        let mut cache = cache_with(1);
        let e = cache.entry(&entry_id(0)).unwrap().clone();
        let _ = cache.store_x509(&e, issued(&e, 1, 0, 1_000), Jitter(jitter), Timestamp(0));
        dues.push(cache.next_due().unwrap().0);
    }
    assert_eq!(dues, [400, 499, 600]);
}

#[test]
fn a_failing_renewal_is_tried_often_enough_before_the_svid_expires() {
    let mut cache = cache_with(1);
    let e = cache.entry(&entry_id(0)).unwrap().clone();
    let _ = cache.store_x509(&e, issued(&e, 1, 0, 60), Jitter::NONE, Timestamp(0));
    let mut now = cache.next_due().unwrap().0;
    let mut attempts = 0;
    while now < 60 {
        assert_eq!(take(&mut cache, now), ["e0"]);
        let _ = cache.fail_x509(&entry_id(0), Jitter(u32::MAX), Timestamp(now));
        now = cache.next_due().unwrap().0;
        attempts += 1;
    }
    assert!(attempts >= 5, "{attempts}");
}

#[test]
fn what_is_in_flight_is_not_asked_for_twice_and_not_forgotten() {
    let mut cache = cache_with(2);
    assert_eq!(take(&mut cache, 0), ["e0", "e1"]);
    assert!(take(&mut cache, 59).is_empty());
    assert_eq!(take(&mut cache, 60), ["e0", "e1"]);
}

#[test]
fn what_a_workload_waits_for_goes_before_what_is_only_prefetched() {
    let mut cache = cache_with(5);
    let mut waited = fields(9, 0b10);
    waited.disable_x509_prefetch = true;
    let put = vec![entry(waited)];
    let _ = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        Timestamp(0),
    );
    let (view, effects) = cache.subscribe(&selectors(0b10), Timestamp(0)).unwrap();
    assert!(effects.reschedule);
    let first = cache.take_due(Timestamp(0), 1);
    assert_eq!(first[0].id, entry_id(9));
    cache.unsubscribe(view);
}

#[test]
fn an_entry_without_prefetch_is_asked_for_only_while_somebody_watches() {
    let mut cache = Cache::new(Limits::default());
    let mut lazy = fields(0, 1);
    lazy.disable_x509_prefetch = true;
    let _ = cache.apply(Update::Snapshot(vec![entry(lazy)]), Timestamp(0));
    assert_eq!(cache.next_due(), None);
    let (view, _) = cache.subscribe(&selectors(1), Timestamp(0)).unwrap();
    assert!(cache.next_due().is_some());
    cache.unsubscribe(view);
    assert_eq!(cache.next_due(), None);
    let _ = cache.subscribe(&selectors(1), Timestamp(0)).unwrap();
    assert!(cache.next_due().is_some(), "also from a view kept warm");
}

#[test]
fn prefetch_is_bounded_and_moves_up_when_room_is_made() {
    let mut cache = Cache::new(Limits {
        max_prefetched: 2,
        ..Limits::default()
    });
    let put: Vec<_> = (0..4).map(|n| entry(fields(n, 1))).collect();
    let _ = cache.apply(Update::Snapshot(put), Timestamp(0));
    assert_eq!(take(&mut cache, 0), ["e0", "e1"]);
    let _ = cache.apply(
        Update::Delta {
            put: vec![],
            removed: vec![entry_id(0)],
        },
        Timestamp(0),
    );
    assert_eq!(take(&mut cache, 0), ["e2"]);
}

#[test]
fn entries_beyond_the_limit_are_left_out_and_counted() {
    let mut cache = Cache::new(Limits {
        max_entries: 2,
        ..Limits::default()
    });
    let put: Vec<_> = (0..4).map(|n| entry(fields(n, 1))).collect();
    assert_eq!(cache.apply(Update::Snapshot(put), Timestamp(0)).left_out, 2);
    assert_eq!(cache.counts().entries, 2);
}

#[test]
fn a_taint_makes_everything_due_within_the_spread() {
    let mut cache = cache_with(10);
    for e in cache.take_due(Timestamp(0), 500) {
        let _ = cache.store_x509(&e, issued(&e, 1, 0, 10_000), Jitter::NONE, Timestamp(0));
    }
    assert!(cache.renew_all(Timestamp(100), Seconds(20)).reschedule);
    assert_eq!(take(&mut cache, 100), ["e0"]);
    assert_eq!(take(&mut cache, 109).len(), 4);
    assert_eq!(take(&mut cache, 120).len(), 5);
}

#[test]
fn an_svid_asked_for_before_the_entry_changed_is_replaced_at_once() {
    let mut cache = cache_with(1);
    let asked = cache.take_due(Timestamp(0), 1).remove(0);
    let mut changed = (*asked).clone().into_fields();
    changed.dns_names = vec!["db.example.org".into()];
    let put = vec![entry(changed)];
    let _ = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        Timestamp(1),
    );
    let _ = cache.store_x509(
        &asked,
        issued(&asked, 1, 1, 100),
        Jitter::NONE,
        Timestamp(1),
    );
    assert_eq!(
        cache.counts().x509_svids,
        1,
        "the old one is served meanwhile"
    );
    assert_eq!(take(&mut cache, 1), ["e0"]);
}

#[test]
fn an_svid_of_another_identity_is_dropped() {
    let mut cache = cache_with(1);
    let asked = cache.take_due(Timestamp(0), 1).remove(0);
    let mut changed = (*asked).clone().into_fields();
    changed.spiffe_id = fields(5, 1).spiffe_id;
    let put = vec![entry(changed)];
    let _ = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        Timestamp(1),
    );
    let _ = cache.store_x509(
        &asked,
        issued(&asked, 1, 1, 100),
        Jitter::NONE,
        Timestamp(1),
    );
    assert_eq!(cache.counts().x509_svids, 0);
    assert_eq!(take(&mut cache, 1), ["e0"]);
}

#[test]
fn a_restart_gives_back_what_lay_on_disk() {
    let mut before = cache_with(3);
    for e in before.take_due(Timestamp(0), 500) {
        let _ = before.store_x509(&e, issued(&e, 1, 0, 100), Jitter::NONE, Timestamp(0));
    }
    let disk: Vec<_> = before
        .issued()
        .map(|(e, i)| (e.clone(), i.clone()))
        .collect();
    let mut after = Cache::new(Limits::default());
    let entries = disk.iter().map(|(e, _)| e.clone()).collect();
    let _ = after.apply(Update::Snapshot(entries), Timestamp(30));
    for (e, i) in disk {
        let _ = after.store_x509(&e, i, Jitter::NONE, Timestamp(30));
    }
    assert_eq!(after.counts().x509_svids, 3);
    assert_eq!(after.next_due(), before.next_due());
    assert_eq!(after.digest(), before.digest());
}
