//! What streams see: waiting, pushes, redaction, the end; and that views are
//! bounded and shared.

use bytes::Bytes;
use identity::Timestamp;

use super::world::{bundle, entry, entry_id, fed, fields, issued, selectors, td};
use crate::{
    Cache, Delivered, Jitter, Limits, State, Step, TooManyViews, Update, Versioned, ViewId,
};

const NOW: Timestamp = Timestamp(0);

/// A cache with entries 0 and 1 for selector 0, both issued.
fn two() -> (Cache, ViewId) {
    let mut cache = Cache::new(Limits::default());
    let own = bundle(td(), 1, 1);
    let _ = cache.apply(
        Update::Bundles {
            own,
            federated: vec![bundle(fed(0), 1, 1)],
        },
        NOW,
    );
    let mut first = fields(0, 1);
    first.federates_with = vec![fed(0)];
    let put = vec![entry(first), entry(fields(1, 1))];
    let _ = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        NOW,
    );
    issue_all(&mut cache, 1);
    let (view, _) = cache.subscribe(&selectors(1), NOW).unwrap();
    (cache, view)
}

fn issue_all(cache: &mut Cache, mark: u64) {
    for e in cache.take_due(NOW, 500) {
        let _ = cache.store_x509(&e, issued(&e, mark, 0, 100), Jitter::NONE, NOW);
    }
}

fn remove(n: u8) -> Update {
    Update::Delta {
        put: vec![],
        removed: vec![entry_id(n)],
    }
}

#[test]
fn losing_one_identity_sends_the_rest_losing_all_ends_the_stream() {
    let (mut cache, view) = two();
    let mut stream = Delivered::default();
    assert!(matches!(stream.step(&cache.x509(view)), Step::Send(v) if v.identities.len() == 2));
    assert_eq!(cache.apply(remove(1), NOW).changed, [view]);
    assert!(matches!(stream.step(&cache.x509(view)), Step::Send(v) if v.identities.len() == 1));
    assert_eq!(cache.apply(remove(0), NOW).changed, [view]);
    assert!(matches!(stream.step(&cache.x509(view)), Step::End));
    assert!(matches!(cache.jwt_bundles(view), State::Denied));
    assert!(cache.members(view).is_empty());
}

#[test]
fn a_new_identity_is_waited_for_and_then_sent_with_the_others() {
    let (mut cache, view) = two();
    let mut stream = Delivered::default();
    assert!(matches!(stream.step(&cache.x509(view)), Step::Send(_)));
    let put = vec![entry(fields(2, 1))];
    let _ = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        NOW,
    );
    assert!(matches!(stream.step(&cache.x509(view)), Step::Wait));
    issue_all(&mut cache, 2);
    assert!(matches!(stream.step(&cache.x509(view)), Step::Send(v) if v.identities.len() == 3));
}

#[test]
fn one_entry_that_cannot_be_issued_does_not_hold_up_the_others() {
    let (mut cache, view) = two();
    let put = vec![entry(fields(2, 1))];
    let _ = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        NOW,
    );
    assert!(matches!(cache.x509(view), State::Pending));
    assert_eq!(
        cache.fail_x509(&entry_id(2), Jitter::NONE, NOW).changed,
        [view]
    );
    assert_eq!(cache.x509(view).ready().unwrap().identities.len(), 2);
}

#[test]
fn a4_a_first_entry_without_a_valid_svid_promotes_no_other() {
    let mut cache = Cache::new(Limits::default());
    let put = vec![entry(fields(0, 1)), entry(fields(1, 1))];
    let _ = cache.apply(Update::Snapshot(put), NOW);
    let own = bundle(td(), 1, 1);
    let federated = vec![];
    let _ = cache.apply(Update::Bundles { own, federated }, NOW);
    let (view, _) = cache.subscribe(&selectors(1), NOW).unwrap();
    let give = |cache: &mut Cache, n: u8, life: i64| {
        let e = cache.entry(&entry_id(n)).unwrap().clone();
        let _ = cache.store_x509(&e, issued(&e, n.into(), 0, life), Jitter::NONE, NOW);
    };
    // The second lives longer than the first, and the server does not answer.
    give(&mut cache, 0, 100);
    give(&mut cache, 1, 1_000);
    let mut stream = Delivered::default();
    assert!(matches!(stream.step(&cache.x509(view)), Step::Send(_)));
    let _ = cache.fail_x509(&entry_id(0), Jitter::NONE, Timestamp(60));
    let _ = cache.tick(Timestamp(100));
    assert!(
        matches!(cache.x509(view), State::Pending),
        "{:?}",
        cache.x509(view)
    );
    assert_eq!(cache.first_without_svid(view).unwrap().id, entry_id(0));
    assert!(matches!(stream.step(&cache.x509(view)), Step::Wait));
    let (late, _) = cache.subscribe(&selectors(1), Timestamp(101)).unwrap();
    assert!(matches!(cache.x509(late), State::Pending));
    give(&mut cache, 0, 2_000);
    let state = cache.x509(view);
    let first = &state.ready().unwrap().identities[0];
    assert_eq!(first.entry.id, entry_id(0));
    assert!(cache.first_without_svid(view).is_none());
}

#[test]
fn content_that_comes_back_is_not_sent_again() {
    let (mut cache, view) = two();
    let mut stream = Delivered::default();
    assert!(matches!(stream.step(&cache.x509(view)), Step::Send(_)));
    let put = vec![entry(fields(2, 1))];
    let _ = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        NOW,
    );
    let _ = cache.apply(remove(2), NOW);
    assert!(matches!(stream.step(&cache.x509(view)), Step::Wait));
}

#[test]
fn a_change_that_no_client_can_see_moves_nothing() {
    let (mut cache, view) = two();
    let mut same = fields(0, 1);
    same.federates_with = vec![fed(0)];
    same.revision = 7;
    let put = vec![entry(same)];
    assert_eq!(
        cache
            .apply(
                Update::Delta {
                    put,
                    removed: vec![]
                },
                NOW
            )
            .changed,
        []
    );
    let mut own = (*bundle(td(), 1, 1)).clone();
    own.sequence = 9;
    let federated = vec![bundle(fed(0), 1, 1), bundle(fed(1), 1, 1)];
    let effects = cache.apply(
        Update::Bundles {
            own: own.into(),
            federated,
        },
        NOW,
    );
    assert_eq!(effects.changed, []);
    assert!(cache.x509(view).ready().is_some());
}

#[test]
fn a_new_jwt_key_is_news_for_the_jwt_stream_alone() {
    let (mut cache, view) = two();
    let version = |state: State<_>| state.ready().map(|v| Versioned::version(&**v));
    let x509 = cache.x509(view).ready().map(|v| v.version());
    let (x509_bundles, jwt) = (
        version(cache.x509_bundles(view)),
        version(cache.jwt_bundles(view)),
    );
    let federated = vec![bundle(fed(0), 1, 1)];
    let _ = cache.apply(
        Update::Bundles {
            own: bundle(td(), 1, 2),
            federated,
        },
        NOW,
    );
    assert_eq!(cache.x509(view).ready().map(|v| v.version()), x509);
    assert_eq!(version(cache.x509_bundles(view)), x509_bundles);
    assert_ne!(version(cache.jwt_bundles(view)), jwt);
}

#[test]
fn a_redacted_bundle_leaves_every_stream() {
    let (mut cache, view) = two();
    assert_eq!(cache.x509(view).ready().unwrap().federated.len(), 1);
    let own = bundle(td(), 1, 1);
    let effects = cache.apply(
        Update::Bundles {
            own,
            federated: vec![],
        },
        NOW,
    );
    assert_eq!(effects.changed, [view]);
    assert!(cache.x509(view).ready().unwrap().federated.is_empty());
    assert_eq!(cache.x509_bundles(view).ready().unwrap().bundles.len(), 1);
    assert!(
        cache
            .jwt_bundles(view)
            .ready()
            .unwrap()
            .bundle(&fed(0))
            .is_none()
    );
}

#[test]
fn expired_svids_are_never_served() {
    let (mut cache, view) = two();
    assert_eq!(cache.tick(Timestamp(99)).changed, []);
    assert_eq!(cache.tick(Timestamp(100)).changed, [view]);
    assert!(matches!(cache.x509(view), State::Pending));
    assert_eq!(cache.counts().x509_svids, 0);
}

#[test]
fn callers_with_equal_selectors_share_a_view_and_its_encoding() {
    let (mut cache, view) = two();
    let (again, _) = cache.subscribe(&selectors(1), NOW).unwrap();
    assert_eq!(view, again);
    let state = cache.x509(view);
    let mut encoded = 0;
    for _ in 0..3 {
        let bytes = state.ready().unwrap().encoded(|_| {
            encoded += 1;
            Bytes::from_static(b"once")
        });
        assert_eq!(bytes, "once");
    }
    assert_eq!(encoded, 1);
    cache.unsubscribe(view);
    cache.unsubscribe(again);
    let (warm, _) = cache.subscribe(&selectors(1), NOW).unwrap();
    assert!(
        matches!((cache.x509(warm), state), (State::Ready(a), State::Ready(b)) if std::sync::Arc::ptr_eq(&a, &b))
    );
}

#[test]
fn views_are_bounded_open_and_idle() {
    let limits = Limits {
        max_views: 3,
        max_idle_views: 2,
        ..Limits::default()
    };
    let mut cache = Cache::new(limits);
    let open: Vec<ViewId> = (1..4)
        .map(|n| cache.subscribe(&selectors(n), NOW).unwrap().0)
        .collect();
    assert_eq!(
        cache.subscribe(&selectors(9), NOW).unwrap_err(),
        TooManyViews(3)
    );
    assert!(
        cache.subscribe(&selectors(1), NOW).is_ok(),
        "a known caller may open more"
    );
    cache.unsubscribe(open[0]);
    for view in &open {
        cache.unsubscribe(*view);
    }
    let counts = cache.counts();
    assert_eq!((counts.views, counts.idle_views), (0, 2));
    for n in 20..40 {
        let (view, _) = cache.subscribe(&selectors(n), NOW).unwrap();
        cache.unsubscribe(view);
        cache.unsubscribe(view);
    }
    assert_eq!(cache.counts().idle_views, 2);
}

#[test]
fn what_is_touched_only_by_others_is_left_alone() {
    let (mut cache, view) = two();
    let (other, _) = cache.subscribe(&selectors(0b10), NOW).unwrap();
    let put = vec![entry(fields(5, 0b10))];
    let effects = cache.apply(
        Update::Delta {
            put,
            removed: vec![],
        },
        NOW,
    );
    assert_eq!(effects.changed, [other]);
    assert_ne!(view, other);
}
