//! What others bring into the own bundle, and how it goes: administrators append,
//! servers below publish; it goes when it expires, when its owner goes, or when an
//! administrator removes it (`owners.rs`).

use std::sync::Arc;

use identity::{JwtAuthorityKey, SpiffeId, Timestamp, X509AuthorityCertificate};
use records::{Owned, TrustOwner, TrustRecord, key};
use store::{Condition, Key, Value, Write};

use super::bundle::Also;
use super::kids::{self, Holder, Quota};
use super::upstream_roots::ends;
use super::{Authorities, Rotors};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

/// Why authorities are there.
const APPENDED: &str = "appended by an administrator";
const PUBLISHED: &str = "published by a downstream server";

/// One owner's record, as it is stored and as it is to be.
pub(super) struct Row {
    key: Key,
    value: Option<Value>,
    pub(super) record: TrustRecord,
}

/// Every owner's record; what is changed in them is committed together.
pub(super) struct Rows(pub(super) Vec<Row>);

impl Rows {
    pub(super) fn records(&self) -> impl Iterator<Item = &TrustRecord> {
        self.0.iter().map(|row| &row.record)
    }

    /// The record of an owner; a new one when there is none.
    fn of(&mut self, td: &identity::TrustDomain, owner: &TrustOwner) -> Option<&mut TrustRecord> {
        if !self.records().any(|record| record.owner == *owner) {
            self.0.push(Row {
                key: key::trust(td, owner).into(),
                value: None,
                record: TrustRecord::empty(owner.clone()),
            });
        }
        let mut records = self.0.iter_mut().map(|row| &mut row.record);
        records.find(|record| record.owner == *owner)
    }

    /// The writes of what was changed.
    pub(super) fn also(&self, detail: String) -> Result<Also, Failure> {
        let mut also = Also {
            detail,
            ..Also::default()
        };
        for row in &self.0 {
            let key = || Arc::clone(&row.key);
            let value: Option<Value> = if row.record.is_empty() {
                None
            } else {
                let encoded = records::encode_trust(&row.record);
                Some(encoded.map_err(Failure::invalid)?.into())
            };
            if value == row.value {
                continue;
            }
            let condition = match &row.value {
                Some(before) => Condition::Equals(key(), Arc::clone(before)),
                None => Condition::Absent(key()),
            };
            let write = match value {
                Some(value) => Write::Put(key(), value),
                None => Write::Delete(key()),
            };
            also.add(condition, write);
        }
        Ok(also)
    }
}

impl Authorities {
    /// Every owner's record, without what its owner is no longer there for.
    pub(super) async fn owned_rows(&self) -> Result<Rows, Failure> {
        let state = &self.0.parts.state;
        let td = state.trust_domain();
        let loaded = state.store().load(&key::trusts(td)).await;
        let loaded = loaded.map_err(Failure::unavailable)?;
        let now = self.0.parts.clock.now();
        let rows = loaded.records.into_iter().filter_map(|(key, value)| {
            // One that cannot be read is told by the state; it is left as it is.
            let mut record = records::decode_trust(&value, td).ok()?;
            state.retain_owned(&mut record, now);
            Some(Row {
                key,
                value: Some(value),
                record,
            })
        });
        Ok(Rows(rows.collect()))
    }

    /// Adds authorities to the own bundle, as an administrator asks.
    ///
    /// # Errors
    /// A key id is another key's, there would be too many, or it cannot be done now.
    pub(crate) async fn append_to_bundle(
        &self,
        caller: &Caller,
        x509: Vec<X509AuthorityCertificate>,
        jwt: Vec<JwtAuthorityKey>,
    ) -> Result<(), Failure> {
        let rotors = self.0.rotors.lock().await;
        let mut rows = self.owned_rows().await?;
        let (own, _) = self.own_row().await?;
        let mut fresh = TrustRecord::empty(TrustOwner::Administrator);
        for root in x509 {
            if !own.x509_authorities.iter().any(|held| held.der == root.der) {
                fresh.x509.push(self.owned(caller, APPENDED, root));
            }
        }
        for key in jwt {
            match self.holder(&rotors, &own, rows.records(), &fresh, &key) {
                Holder::Other => return Err(kids::taken()),
                Holder::Server if !is_own(&rotors, &key) => return Err(kids::taken()),
                // What the server has itself it knows better.
                Holder::Server => {}
                Holder::Nobody | Holder::SameKey => {
                    fresh.jwt.push(self.owned(caller, APPENDED, key));
                }
            }
        }
        let td = self.0.parts.state.trust_domain();
        let detail = format!(
            "appended: {} X.509 and {} JWT authorities",
            fresh.x509.len(),
            fresh.jwt.len()
        );
        if let Some(record) = rows.of(td, &TrustOwner::Administrator) {
            for root in fresh.x509 {
                let mut held = record.x509.iter();
                if !held.any(|held| held.authority.der == root.authority.der) {
                    record.x509.push(root);
                }
            }
            for key in fresh.jwt {
                put_key(record, key)?;
            }
            kids::check_appended(record)?;
        }
        let also = rows.also(detail)?;
        self.change_own_bundle(caller, also, |_own| {}).await
    }

    /// Publishes a downstream server's JWT key: above first, when there is something,
    /// so that it is nowhere until it can be everywhere. It goes with the entry that
    /// makes the caller a downstream server.
    ///
    /// # Errors
    /// The key id is another key's, the caller or all of its kind have published as
    /// much as they may, or it cannot be done now.
    pub(crate) async fn publish_of_downstream(
        &self,
        caller: &Caller,
        id: &SpiffeId,
        key: JwtAuthorityKey,
    ) -> Result<(), Failure> {
        {
            let rotors = self.0.rotors.lock().await;
            self.with_published(&rotors, (caller, id), &key).await?;
        }
        if let Some(upstream) = self.0.upstream.as_ref() {
            // Not inside the lock: the rotation waits for nobody's network.
            let published = upstream.publish(&key).await;
            self.0.alarm.published(&published, self.0.parts.clock.now());
            published.map_err(Failure::unavailable)?;
        }
        let rotors = self.0.rotors.lock().await;
        let rows = self.with_published(&rotors, (caller, id), &key).await?;
        let also = rows.also(format!("published: key {}", key.key_id))?;
        self.change_own_bundle(caller, also, |_own| {}).await
    }

    /// The rows with the key in its publisher's.
    async fn with_published(
        &self,
        rotors: &Rotors,
        (caller, id): (&Caller, &SpiffeId),
        key: &JwtAuthorityKey,
    ) -> Result<Rows, Failure> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let entry = parts.state.downstream_entry(id, now).ok_or_else(|| {
            Failure::new(
                Kind::Denied,
                "no downstream entry has the caller's SPIFFE ID",
            )
        })?;
        let mut rows = self.owned_rows().await?;
        let (own, _) = self.own_row().await?;
        let mut mine = TrustRecord::empty(TrustOwner::Entry(entry));
        mine.spiffe_id = Some(id.clone());
        match self.holder(rotors, &own, rows.records(), &mine, key) {
            Holder::Nobody | Holder::SameKey => {}
            Holder::Server | Holder::Other => return Err(kids::taken()),
        }
        let owned = self.owned(caller, PUBLISHED, key.clone());
        let mut wanted = None;
        if let Some(record) = rows.of(parts.state.trust_domain(), &mine.owner) {
            record.spiffe_id = mine.spiffe_id;
            record
                .jwt
                .retain(|held| !is_over(held.authority.expires_at, now));
            put_key(record, owned)?;
            wanted = Some(record.clone());
        }
        let is_forwarded = self.0.upstream.as_ref().is_some_and(|up| up.publishes());
        if let Some(wanted) = wanted {
            Quota::new(is_forwarded).check(&wanted, rows.records())?;
        }
        Ok(rows)
    }

    /// Who has a key id, whatever it is for.
    fn holder<'a>(
        &self,
        rotors: &Rotors,
        own: &identity::Bundle,
        records: impl Iterator<Item = &'a TrustRecord>,
        mine: &TrustRecord,
        key: &JwtAuthorityKey,
    ) -> Holder {
        let rotors_have = [&rotors.jwt, &rotors.access].into_iter().any(|rotor| {
            let stored = rotor.rows.values().map(|(row, _)| row);
            let mut rows = stored.chain(rotor.fresh.values());
            rows.any(|row| *row.id == *key.key_id)
        });
        let mut published = own.jwt_authorities.iter().chain(&own.access_keys);
        if rotors_have || published.any(|held| held.key_id == key.key_id) {
            return Holder::Server;
        }
        let mut above = rotors.x509.above.known.jwt.iter();
        let above = above.find(|held| held.key_id == key.key_id);
        if above.is_some_and(|held| held.spki != key.spki) {
            return Holder::Other;
        }
        kids::held_by_others(records, mine, key)
    }

    fn owned<T>(&self, caller: &Caller, why: &str, authority: T) -> Owned<T> {
        let mut by = caller.to_string();
        by.truncate(by.floor_char_boundary(limits::MAX_OWNER_TEXT_BYTES));
        Owned {
            authority,
            since: self.0.parts.clock.now(),
            by,
            why: why.to_owned(),
        }
    }

    /// Deletes the records of owners that are gone; what they brought is shown to
    /// nobody any more.
    ///
    /// # Errors
    /// It cannot be done now.
    pub(crate) async fn drop_orphans(&self) -> Result<(), Failure> {
        let _rotors = self.0.rotors.lock().await;
        let rows = self.owned_rows().await?;
        let also = rows.also("what its owner is gone for is taken out".to_owned())?;
        self.change_own_bundle(&Caller::Server, also, |_own| {})
            .await
    }

    /// Takes what has expired out of the own bundle: authorities of others, and those
    /// of a server of the trust domain that is no more.
    ///
    /// # Errors
    /// It cannot be done now.
    pub(crate) async fn prune_expired(&self) -> Result<(), Failure> {
        let now = self.0.parts.clock.now();
        let rotors = self.0.rotors.lock().await;
        let before = now.minus(rotors.jwt.policy.removal_skew);
        let mut rows = self.owned_rows().await?;
        for row in &mut rows.0 {
            let record = &mut row.record;
            record
                .jwt
                .retain(|it| !is_over(it.authority.expires_at, before));
            record
                .x509
                .retain(|it| !is_over(Some(ends(&it.authority.der)), before));
        }
        let also = rows.also("what has expired is taken out".to_owned())?;
        let keeps = |key: &JwtAuthorityKey| {
            let mut own = [&rotors.jwt, &rotors.access].into_iter();
            own.any(|rotor| rotor.slot_named(&key.key_id).is_some())
                || !is_over(key.expires_at, before)
        };
        self.change_own_bundle(&Caller::Server, also, |own| {
            own.jwt_authorities.retain(keeps);
            own.access_keys.retain(keeps);
        })
        .await
    }
}

/// Whether something ended at or before a moment.
fn is_over(end: Option<Timestamp>, now: Timestamp) -> bool {
    end.is_some_and(|end| end <= now)
}

/// Whether a key is one of the server's own, under its own id.
fn is_own(rotors: &Rotors, key: &JwtAuthorityKey) -> bool {
    let rotors = [&rotors.jwt, &rotors.access].into_iter();
    let mut rows = rotors.flat_map(|rotor| rotor.rows.values().map(|(row, _)| row));
    rows.any(|row| *row.id == *key.key_id && *row.spki == *key.spki)
}

/// Puts a key into its owner's record. The same key again only says when it ends.
fn put_key(record: &mut TrustRecord, key: Owned<JwtAuthorityKey>) -> Result<(), Failure> {
    let mut held = record.jwt.iter_mut().map(|held| &mut held.authority);
    match held.find(|held| held.key_id == key.authority.key_id) {
        Some(held) if held.spki != key.authority.spki => Err(kids::taken()),
        Some(held) => {
            held.expires_at = key.authority.expires_at;
            Ok(())
        }
        None => {
            record.jwt.push(key);
            Ok(())
        }
    }
}
