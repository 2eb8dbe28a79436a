//! What a list of revocations does to views, renewals and tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use identity::{EntryId, JwtSvid, SpiffeId, Timestamp};

use super::world::{bundle, entry, entry_id, fields, issued, selectors, td};
use crate::{Cache, Effects, Issued, Jitter, Limits, Revoke, State, Update, ViewId, X509View};

const NOW: Timestamp = Timestamp(1_000);

/// Two entries for one caller, both with SVIDs; its view.
fn cache() -> (Cache, ViewId) {
    let mut cache = Cache::new(Limits::default());
    let put = vec![entry(fields(0, 1)), entry(fields(1, 1))];
    let _ = cache.apply(Update::Snapshot(put), NOW);
    let own = bundle(td(), 1, 1);
    let federated = Vec::new();
    let _ = cache.apply(Update::Bundles { own, federated }, NOW);
    let (view, _) = cache.subscribe(&selectors(1), NOW).unwrap();
    for n in [0, 1] {
        give(&mut cache, n, n.into());
    }
    assert_eq!(cache.take_due(NOW, 9).len(), 0, "nothing is due");
    (cache, view)
}

fn give(cache: &mut Cache, n: u8, mark: u64) {
    let e = cache.entry(&entry_id(n)).unwrap().clone();
    let svid = issued(&e, mark, NOW.0, 600);
    let _ = cache.store_x509(&e, svid, Jitter::NONE, NOW);
}

fn mark(issued: &Issued) -> u64 {
    u64::from_be_bytes(issued.svid.chain[0][..].try_into().unwrap())
}

fn revoke(
    cache: &mut Cache,
    void: &dyn Fn(&Issued) -> bool,
    barred: &[SpiffeId],
    crl: &'static [u8],
) -> (Vec<EntryId>, Effects) {
    let revoke = Revoke {
        x509: void,
        jwt: &|_| false,
        barred: barred.iter().cloned().collect::<BTreeSet<_>>(),
        crls: [Bytes::from_static(crl)].into(),
    };
    cache.revoke(revoke, NOW)
}

fn shown(state: &State<X509View>) -> Vec<u64> {
    let view = state.ready().expect("a view");
    view.identities
        .iter()
        .map(|one| mark(&one.issued))
        .collect()
}

#[test]
fn a_void_svid_is_due_at_once_and_served_until_it_is_replaced() {
    let (mut cache, view) = cache();
    let (waiting, effects) = revoke(&mut cache, &|issued| mark(issued) == 1, &[], b"crl");
    assert_eq!(waiting, [entry_id(1)]);
    assert!(effects.reschedule);
    assert_eq!(shown(&cache.x509(view)), [0, 1]);
    let due = cache.take_due(NOW, 9);
    assert_eq!(
        due.iter().map(|e| &e.id).collect::<Vec<_>>(),
        [&entry_id(1)]
    );
    give(&mut cache, 1, 7);
    assert_eq!(shown(&cache.x509(view)), [0, 7]);
}

#[test]
fn a_barred_id_is_given_nothing_until_that_is_lifted() {
    let (mut cache, view) = cache();
    let ids = [fields(0, 1).spiffe_id, fields(1, 1).spiffe_id];
    let none = |_: &Issued| false;
    let (_, effects) = revoke(&mut cache, &none, &ids[..1], b"crl");
    assert_eq!(effects.changed, [view]);
    assert_eq!(shown(&cache.x509(view)), [1], "the other identity stays");
    assert!(cache.take_due(NOW, 9).is_empty(), "it is not asked for");
    // Not even what was under way when the ID was revoked.
    give(&mut cache, 0, 9);
    assert_eq!(shown(&cache.x509(view)), [1]);
    let _ = revoke(&mut cache, &none, &ids, b"crl");
    assert!(
        matches!(cache.x509(view), State::Denied),
        "streams end: {:?}",
        cache.x509(view)
    );
    let _ = revoke(&mut cache, &none, &[], b"crl");
    assert_eq!(cache.take_due(NOW, 9).len(), 2, "lifted: asked for at once");
    give(&mut cache, 0, 3);
    give(&mut cache, 1, 4);
    assert_eq!(shown(&cache.x509(view)), [3, 4]);
}

#[test]
fn void_tokens_leave_the_cache() {
    let (mut cache, _) = cache();
    let token = |n: u8, text: &str| {
        Arc::new(JwtSvid {
            spiffe_id: fields(n, 1).spiffe_id,
            token: text.into(),
            issued_at: NOW,
            expires_at: Timestamp(NOW.0 + 300),
            key_id: "1".into(),
        })
    };
    let audience = ["a".to_owned()];
    for n in [0, 1] {
        let e = cache.entry(&entry_id(n)).unwrap().clone();
        cache.store_jwt(&e, &audience, token(n, &n.to_string()));
    }
    let revoke = Revoke {
        x509: &|_| false,
        jwt: &|svid| *svid.token == *"0",
        barred: BTreeSet::new(),
        crls: Arc::new([]),
    };
    let _ = cache.revoke(revoke, NOW);
    assert!(cache.jwt(&entry_id(0), &audience, NOW).is_none());
    assert!(cache.jwt(&entry_id(1), &audience, NOW).is_some());
    assert_eq!(cache.counts().jwt_svids, 1);
}

#[test]
fn streams_are_given_a_new_revocation_list_and_the_same_one_is_no_news() {
    let (mut cache, view) = cache();
    let none = |_: &Issued| false;
    let (_, effects) = revoke(&mut cache, &none, &[], b"one");
    assert_eq!(effects.changed, [view]);
    assert_eq!(*cache.x509(view).ready().unwrap().crls, [&b"one"[..]]);
    let bundles = cache.x509_bundles(view);
    assert_eq!(*bundles.ready().unwrap().crls, [&b"one"[..]]);
    let jwt = cache.jwt_bundles(view);
    let (_, effects) = revoke(&mut cache, &none, &[], b"one");
    assert!(effects.changed.is_empty());
    let (_, effects) = revoke(&mut cache, &none, &[], b"two");
    assert_eq!(effects.changed, [view]);
    assert!(
        jwt.is_same(&cache.jwt_bundles(view)),
        "no news for who verifies tokens"
    );
}
