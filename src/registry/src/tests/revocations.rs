//! Revocations come and go; the number of their list only grows.

use std::sync::Arc;

use identity::{Revocation, Revoked, Timestamp, TrustDomain};

use crate::{Change, Registry};

fn revocation(kind: &str, value: &str, at: i64) -> Arc<Revocation> {
    let td = TrustDomain::parse("example.org").unwrap();
    Arc::new(Revocation {
        what: Revoked::parse(kind, value, &td).unwrap(),
        at: Timestamp(at),
        until: Some(Timestamp(at + 60)),
        authority: "".into(),
        reason: "".into(),
    })
}

#[test]
fn revocations_are_kept_by_what_they_revoke() {
    let mut registry = Registry::new(TrustDomain::parse("example.org").unwrap());
    let id = revocation("id", "spiffe://example.org/a", 1);
    let later = revocation("id", "spiffe://example.org/a", 2);
    let serial = revocation("serial", "07", 1);
    for change in [
        Change::PutRevocation(Arc::clone(&id)),
        Change::PutRevocation(Arc::clone(&serial)),
        Change::PutRevocation(Arc::clone(&later)),
        Change::RevocationSequence(5),
        Change::RevocationSequence(4),
    ] {
        assert!(registry.apply(change).is_nobody(), "no agent's view");
    }
    assert_eq!(registry.revocation_sequence(), 5);
    assert_eq!(registry.revocation(&id.what), Some(&later));
    assert_eq!(registry.revocations().len(), 2);
    let _ = registry.apply(Change::DeleteRevocation(id.what.clone()));
    assert!(registry.revocations().eq([&serial]));
}
