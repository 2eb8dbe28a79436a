//! The own bundle, composed: the server's own part, what the authority above
//! publishes, and what each further owner brought, as long as that owner is there.
//!
//! An owner that is gone takes its authorities with it in the same look at the view:
//! nobody is shown them for a moment longer, whenever their record is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity::{Bundle, EntryId, JwtAuthorityKey, Revoked, SpiffeId, Timestamp};
use records::{Owned, TrustOwner, TrustRecord};
use registry::{Change, Registry};

use super::State;

/// What the own bundle is made of.
#[derive(Default)]
pub(crate) struct Trust {
    /// The server's own part, with the sequence number; before it was migrated, all.
    own: Option<Arc<Bundle>>,
    /// JWT keys that authorities above publish, by the name of the record.
    above: BTreeMap<String, Vec<JwtAuthorityKey>>,
    owners: BTreeMap<TrustOwner, Arc<TrustRecord>>,
    /// Whether the bundle may be another than was last composed.
    changed: bool,
    /// Whether an owner is gone whose record is still there.
    orphans: bool,
}

impl Trust {
    pub(super) fn take_own(&mut self, own: Option<Bundle>) {
        self.own = own.map(Arc::new);
        self.changed = true;
    }

    pub(super) fn take_above(&mut self, name: String, keys: Option<Vec<JwtAuthorityKey>>) {
        match keys {
            Some(keys) => self.above.insert(name, keys),
            None => self.above.remove(&name),
        };
        self.changed = true;
    }

    pub(super) fn take_owner(&mut self, owner: TrustOwner, record: Option<TrustRecord>) {
        match record {
            Some(record) => self.owners.insert(owner, Arc::new(record)),
            None => self.owners.remove(&owner),
        };
        self.changed = true;
    }

    /// Notes that entries or revocations changed, if an owner depends on them.
    pub(super) fn note(&mut self, change: &Change) {
        let concerns = match change {
            Change::PutEntry(entry) => self.has(&entry.id),
            Change::DeleteEntry(id) => self.has(id),
            Change::PutRevocation(_) | Change::DeleteRevocation(_) => self
                .owners
                .keys()
                .any(|o| matches!(o, TrustOwner::Entry(_))),
            _ => false,
        };
        self.changed |= concerns;
    }

    fn has(&self, id: &EntryId) -> bool {
        !self.owners.is_empty() && self.owners.contains_key(&TrustOwner::Entry(id.clone()))
    }

    /// The bundle as it is now, if that is another than `shown`; `None` otherwise.
    /// The sequence number grows with every difference, and never falls.
    pub(super) fn settle(
        &mut self,
        registry: &Registry,
        shown: Option<&Arc<Bundle>>,
        now: Timestamp,
    ) -> Option<Change> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let Some(own) = self.own.clone() else {
            self.orphans = false;
            let td = registry.trust_domain().clone();
            return shown.map(|_| Change::DeleteBundle(td));
        };
        let (mut bundle, gone) = self.compose(registry, &own, now);
        self.orphans = gone > 0;
        match shown {
            Some(shown) => {
                bundle.sequence = shown.sequence;
                if bundle == **shown && own.sequence <= shown.sequence {
                    return None;
                }
                let next = shown.sequence.saturating_add(u64::from(bundle != **shown));
                bundle.sequence = own.sequence.max(next);
            }
            None => bundle.sequence = own.sequence.saturating_add(gone),
        }
        Some(Change::PutBundle(Arc::new(bundle)))
    }

    /// Everything that is to be in the bundle, and how many authorities are left out
    /// because their owner is gone. A key id that is taken stays with whom it belongs
    /// to: the server, then what is above it, then the others.
    fn compose(&self, registry: &Registry, own: &Bundle, now: Timestamp) -> (Bundle, u64) {
        let mut bundle = own.clone();
        let keys = own.jwt_authorities.iter().chain(&own.access_keys);
        let mut kids: BTreeSet<Arc<str>> = keys.map(|key| Arc::clone(&key.key_id)).collect();
        let above = self.above.values().flatten();
        let above = above.filter(|key| kids.insert(Arc::clone(&key.key_id)));
        bundle.jwt_authorities.extend(above.cloned());
        let mut gone = 0;
        for record in self.owners.values() {
            for x509 in &record.x509 {
                let held = &mut bundle.x509_authorities;
                if !is_there(registry, record, x509, now) {
                    gone += 1;
                } else if !held.iter().any(|held| held.der == x509.authority.der) {
                    held.push(x509.authority.clone());
                }
            }
            for jwt in &record.jwt {
                if !is_there(registry, record, jwt, now) {
                    gone += 1;
                } else if kids.insert(Arc::clone(&jwt.authority.key_id)) {
                    bundle.jwt_authorities.push(jwt.authority.clone());
                }
            }
        }
        (bundle, gone)
    }

    /// Whether the bundle may be another than was last composed.
    pub(super) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether an owner is gone whose record is still there, as of the last look.
    pub(super) const fn has_orphans(&self) -> bool {
        self.orphans
    }
}

/// Whether the owner of an authority is still there, and still what it was when it
/// brought it: administrators always, a downstream server as long as its entry says
/// so and its ID is not revoked.
fn is_there<T>(
    registry: &Registry,
    record: &TrustRecord,
    owned: &Owned<T>,
    now: Timestamp,
) -> bool {
    let TrustOwner::Entry(id) = &record.owner else {
        return true;
    };
    let Some(entry) = registry.entry(id).filter(|entry| entry.downstream) else {
        return false;
    };
    if entry.is_expired(now) || record.spiffe_id.as_ref() != Some(&entry.spiffe_id) {
        return false;
    }
    match registry.revocation(&Revoked::Id(entry.spiffe_id.clone())) {
        None => true,
        Some(revoked) => !revoked.is_until_lifted() && owned.since > revoked.at,
    }
}

impl State {
    /// The server's own part of the own bundle: its own keys alone, and what shows of
    /// the roots above it.
    pub(crate) fn own_part(&self) -> Option<Arc<Bundle>> {
        self.read().trust.own.clone()
    }

    /// What each owner brought into the own bundle.
    pub(crate) fn trust_records(&self) -> Vec<Arc<TrustRecord>> {
        self.read().trust.owners.values().cloned().collect()
    }

    /// Completes when an owner of authorities is gone whose record is still there.
    pub(crate) async fn orphaned(&self) {
        self.0.orphaned.notified().await;
    }

    /// Takes out of a record what its owner is no longer there for.
    pub(crate) fn retain_owned(&self, record: &mut TrustRecord, now: Timestamp) {
        let view = self.read();
        let whose = TrustRecord {
            spiffe_id: record.spiffe_id.clone(),
            ..TrustRecord::empty(record.owner.clone())
        };
        let registry = &view.registry;
        record.x509.retain(|it| is_there(registry, &whose, it, now));
        record.jwt.retain(|it| is_there(registry, &whose, it, now));
    }

    /// The entry that makes a caller a downstream server: of several the one that has
    /// published something already, else the first.
    pub(crate) fn downstream_entry(&self, id: &SpiffeId, now: Timestamp) -> Option<EntryId> {
        let filter = registry::EntryFilter {
            spiffe_id: Some(id.clone()),
            ..registry::EntryFilter::default()
        };
        let view = self.read();
        let entries = view.registry.list_entries(&filter, None, usize::MAX).items;
        let fits = || {
            let entries = entries.iter();
            entries.filter(|entry| entry.downstream && !entry.is_expired(now))
        };
        let known = fits().find(|entry| view.trust.has(&entry.id));
        known
            .or_else(|| fits().next())
            .map(|entry| entry.id.clone())
    }
}

#[cfg(test)]
mod tests {
    use identity::TrustDomain;

    use super::*;

    fn key(kid: &str, spki: &[u8]) -> JwtAuthorityKey {
        JwtAuthorityKey {
            key_id: kid.into(),
            spki: spki.into(),
            expires_at: None,
            tainted: false,
        }
    }

    fn owned(key: JwtAuthorityKey) -> Owned<JwtAuthorityKey> {
        Owned {
            authority: key,
            since: Timestamp(1),
            by: String::new(),
            why: String::new(),
        }
    }

    #[test]
    fn a_key_id_stays_with_whom_it_belongs_to() {
        let td = TrustDomain::parse("example.org").unwrap();
        let registry = Registry::new(td.clone());
        let mut own = Bundle::empty(td);
        own.access_keys = vec![key("a", b"own")];
        own.jwt_authorities = vec![key("j", b"own")];
        let mut trust = Trust::default();
        trust.take_own(Some(own));
        trust.take_above(
            "1".into(),
            Some(vec![key("j", b"above"), key("u", b"above")]),
        );
        let mut record = TrustRecord::empty(TrustOwner::Administrator);
        record.jwt = ["a", "j", "u", "m"]
            .map(|kid| owned(key(kid, b"other")))
            .into();
        trust.take_owner(TrustOwner::Administrator, Some(record));
        let Some(Change::PutBundle(bundle)) = trust.settle(&registry, None, Timestamp(2)) else {
            panic!("there is a bundle");
        };
        let shown: Vec<_> = bundle.jwt_authorities.iter().collect();
        let shown: Vec<_> = shown.iter().map(|k| (&*k.key_id, &*k.spki)).collect();
        let wanted: [(&str, &[u8]); 3] = [("j", b"own"), ("u", b"above"), ("m", b"other")];
        assert_eq!(shown, wanted);
        assert_eq!(bundle.access_keys, [key("a", b"own")]);
    }

    #[test]
    fn the_sequence_grows_with_every_difference() {
        let td = TrustDomain::parse("example.org").unwrap();
        let registry = Registry::new(td.clone());
        let mut trust = Trust::default();
        let mut own = Bundle::empty(td);
        own.sequence = 5;
        trust.take_own(Some(own.clone()));
        let Some(Change::PutBundle(first)) = trust.settle(&registry, None, Timestamp(2)) else {
            panic!("there is a bundle");
        };
        assert_eq!(first.sequence, 5);
        assert!(
            trust
                .settle(&registry, Some(&first), Timestamp(2))
                .is_none()
        );
        // Its entry does not exist: it was never shown, and nothing differs.
        let gone = TrustOwner::Entry(EntryId::parse("gone").unwrap());
        let mut record = TrustRecord::empty(gone.clone());
        record.jwt = vec![owned(key("k", b"k"))];
        trust.take_owner(gone, Some(record));
        assert!(
            trust
                .settle(&registry, Some(&first), Timestamp(2))
                .is_none()
        );
        assert!(trust.has_orphans());
        let admin = TrustOwner::Administrator;
        let mut record = TrustRecord::empty(admin.clone());
        record.jwt = vec![owned(key("m", b"m"))];
        trust.take_owner(admin, Some(record));
        let next = trust.settle(&registry, Some(&first), Timestamp(2));
        let Some(Change::PutBundle(next)) = next else {
            panic!("it differs");
        };
        assert_eq!(next.sequence, 6);
        // The commit that follows has the higher number.
        own.sequence = 9;
        trust.take_own(Some(own));
        let last = trust.settle(&registry, Some(&next), Timestamp(2));
        assert!(matches!(last, Some(Change::PutBundle(last)) if last.sequence == 9));
    }
}
