//! What is revoked stays so when its record cannot be read any more.

use identity::Revoked;
use records::key;
use store::memory::Memory;
use store::{Commit, CommitId, Store, Write};

use super::*;

/// A store whose revocation records are of these keys, and unreadable.
async fn store_with(keys: Vec<Vec<u8>>) -> Arc<dyn Store> {
    let store = Memory::with_limits(9, crate::open::store_limits());
    let garbage: Arc<[u8]> = b"\xff\xfe garbage".as_slice().into();
    let writes = keys
        .into_iter()
        .map(|key| Write::Put(key.into(), Arc::clone(&garbage)));
    let commit = Commit {
        id: CommitId([1; 16]),
        conditions: Vec::new(),
        writes: writes.collect(),
    };
    store.commit(commit).await.unwrap();
    Arc::new(store)
}

#[tokio::test]
async fn what_an_unreadable_record_names_stays_revoked_until_it_is_lifted() {
    let td = identity::TrustDomain::parse("example.org").unwrap();
    let named = |kind, value| Revoked::parse(kind, value, &td).unwrap();
    let (serial, jti) = (named("serial", "0a0b0c"), named("jti", "t-1"));
    let gone = named("id", "spiffe://example.org/gone");
    let keys = [&serial, &jti, &gone].map(|what| key::revocation(&td, what));
    let rig = Rig::on_store(store_with(keys.into()).await).await.unwrap();
    assert!(rig.minted(&rig.id("/gone")).await.is_err());
    let (id, issued) = (rig.id("/web"), rig.clock.now());
    let other = rig.id("/gone");
    let check = |list: &Revocations| {
        let certificate = identity::CertificateSerial::new(&[0x0a, 0x0b, 0x0c]);
        [
            list.check_certificate(&id, &certificate, issued).is_err(),
            list.check_token(&id, Some("t-1"), Some(issued)).is_err(),
            list.check_token(&other, None, Some(issued)).is_err(),
        ]
    };
    assert_eq!(check(&rig.server.state.revoked()), [true; 3]);
    assert_eq!(check(&read(&rig, &*rig.signed().await)), [true; 3]);
    // Time alone takes none of it back.
    let in_ten_years = rig.clock.now().plus(identity::Seconds(315_360_000));
    let spent = |what: &Revoked| rig.held(what).unwrap().is_spent(in_ten_years);
    assert!(![&serial, &jti, &gone].into_iter().any(spent));
    for what in [&serial, &jti, &gone] {
        let lifted = rig.server.revocations.lift(&ADMIN, what, "known good");
        lifted.await.unwrap();
    }
    let revoked = rig.server.state.revoked();
    assert_eq!(check(&revoked), [false, false, true]);
    assert!(rig.minted(&rig.id("/gone")).await.is_ok());
    assert!(rig.server.state.poison().is_empty());
}

#[tokio::test]
async fn a_server_that_cannot_tell_what_is_revoked_does_not_start() {
    let td = identity::TrustDomain::parse("example.org").unwrap();
    let nameless = b"example.org/revocation/serial/not-hex".to_vec();
    for key in [key::revocation_sequence(&td), nameless] {
        let name = key.escape_ascii().to_string();
        let refused = Rig::on_store(store_with(vec![key]).await).await;
        let refused = refused.err().expect("it started").to_string();
        assert!(refused.contains(&name), "{refused}");
        assert!(refused.contains("backup"), "{refused}");
    }
}

#[tokio::test]
async fn a_record_that_becomes_unreadable_takes_nothing_back() {
    let rig = Rig::memory().await;
    let svid = rig.minted(&rig.id("/web")).await.unwrap().svid;
    let order = rig.order("serial", &serial_of(&svid).to_string());
    rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();
    let key = key::revocation(rig.server.state.trust_domain(), &order.what);
    let garbage = Write::Put(key.into(), b"garbage".as_slice().into());
    let state = &rig.server.state;
    state.commit(Vec::new(), vec![garbage]).await.unwrap();
    let check = state.revoked();
    let checked = check.check_certificate(&svid.spiffe_id, &serial_of(&svid), svid.not_before);
    assert!(checked.is_err());
    assert_eq!(state.poison().len(), 1);
}
