//! What the state holds for scoped tokens: activations of policy sets and limits of
//! entries. Reads are of memory; a policy set's files alone are read
//! from the store, when it is loaded or shown.

use std::collections::HashSet;
use std::sync::Arc;

use identity::EntryId;
use journal::Draft;
use records::{ActivationRecord, AuditKind, PolicyFile, RecordError, TokenLimitsRecord, key};
use store::{Key, Value, Write};
use tokio::sync::watch;

use super::{Change, Decision, Rows, State, stored};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;

impl State {
    /// The activation in force: the newest.
    ///
    /// # Errors
    /// The newest cannot be read, and an older one is not in force again because of
    /// that. One that cannot be read and is not the newest stops nothing.
    pub(crate) fn active_policy(&self) -> Result<Option<Arc<ActivationRecord>>, Failure> {
        let view = self.read();
        let newest = view.activations.last_key_value();
        let number = newest.map_or(0, |(number, _)| *number);
        let mut unread = view.poison.values();
        let lost = unread.find(|poison| poison.activation().is_some_and(|lost| lost >= number));
        if let Some(lost) = lost {
            let text = format!(
                "the stored record {} is of the policy set that was activated last and cannot be read: {}; activate a set with `bulla policy apply` or `bulla policy rollback` in its place",
                lost.key, lost.why
            );
            return Err(Failure::internal(text));
        }
        Ok(newest.map(|(_, a)| Arc::clone(a)))
    }

    /// Activations that cannot be read, oldest first: their numbers, and what is wrong
    /// with them.
    #[must_use]
    pub(crate) fn unread_activations(&self) -> Vec<(u64, String)> {
        let view = self.read();
        let unread = view.poison.values();
        let mut unread: Vec<_> = unread
            .filter_map(|poison| Some((poison.activation()?, poison.why.clone())))
            .collect();
        unread.sort();
        unread
    }

    /// Every activation that is kept, newest first.
    #[must_use]
    pub(crate) fn activations(&self) -> Vec<Arc<ActivationRecord>> {
        self.read().activations.values().rev().cloned().collect()
    }

    /// Wakes when another policy set was activated.
    pub(crate) fn policy_changes(&self) -> watch::Receiver<()> {
        self.0.activated.subscribe()
    }

    /// Tells those who follow that another policy set is loaded.
    pub(crate) fn tell_policy(&self) {
        self.0.subscribers.mark_policy();
    }

    /// Reads the files of a policy set.
    ///
    /// # Errors
    /// A part is missing or damaged, or the store does not answer.
    pub(crate) async fn policy_files(
        &self,
        activation: &ActivationRecord,
    ) -> Result<Vec<PolicyFile>, Failure> {
        let mut chunks: Vec<Value> = Vec::new();
        for index in 0..activation.chunks {
            let key = key::policy_chunk(&self.0.trust_domain, digits(&activation.digest), index);
            let key: Key = key.into();
            let value = self.0.store.get(&key).await;
            let value = value.map_err(Failure::unavailable)?;
            chunks.push(value.ok_or_else(|| {
                Failure::internal(format!(
                    "part {index} of policy set {} is gone",
                    activation.digest
                ))
            })?);
        }
        records::decode_policy_set(&chunks).map_err(Failure::internal)
    }

    /// Activates a policy set in one commit: its files, if they are not kept yet, and
    /// the activation. What no activation names any more goes in the same commit, and
    /// so do damaged activations: this one is in force in their place.
    ///
    /// # Errors
    /// Somebody else activated one at the same time, it is too large, or the store or
    /// journal failed.
    pub(crate) async fn activate_policy(
        &self,
        caller: &Caller,
        mut activation: ActivationRecord,
        files: Option<Vec<PolicyFile>>,
    ) -> Result<Arc<ActivationRecord>, Failure> {
        let td = &self.0.trust_domain;
        let _sets = self.hold_sets().await?;
        let kept = self.activations();
        let unread: Vec<u64> = self.unread_activations().iter().map(|one| one.0).collect();
        let newest = kept.first().map(|a| a.number);
        let newest = newest.max(unread.last().copied());
        activation.number = newest.map_or(1, |number| number.saturating_add(1));
        activation.previous = kept.first().map_or_else(String::new, |a| a.digest.clone());
        let held = kept.iter().find(|a| a.digest == activation.digest);
        let mut unconditional = match (held, files) {
            (Some(held), _) => {
                activation.chunks = held.chunks;
                Vec::new()
            }
            (None, Some(files)) => self.chunks(&mut activation, files)?,
            (None, None) => return Err(Failure::not_found("there is no such policy set")),
        };
        let (stay, go) = kept.split_at(kept.len().min(limits::MAX_ACTIVATIONS - 1));
        let named = stay.iter().map(|a| a.digest.as_str());
        let named: HashSet<&str> = named.chain([activation.digest.as_str()]).collect();
        let forgotten = go.iter().filter(|a| !named.contains(a.digest.as_str()));
        let chunks = forgotten.flat_map(|a| {
            let chunk = |index| key::policy_chunk(td, digits(&a.digest), index);
            (0..a.chunks).map(move |index| Write::Delete(chunk(index).into()))
        });
        unconditional.extend(chunks);
        if !unread.is_empty() {
            unconditional.extend(self.unnamed_chunks(&named).await?);
        }
        let row = |number: u64| -> Key { key::activation(td, number).into() };
        let old = go.iter().map(|a| row(a.number));
        let old: Vec<Key> = old.chain(unread.iter().copied().map(row)).collect();
        let keys = old.iter().cloned().chain([row(activation.number)]);
        let decided = self.decide(caller, keys.collect(), |rows| {
            let mut change = self.activation_change(caller, rows, &activation, &old)?;
            change.unread.clone_from(&unconditional);
            Ok::<_, Failure>(Decision::Change(change, ()))
        });
        decided.await?;
        Ok(Arc::new(activation))
    }

    /// The records and writes of a new activation in place of old ones. An old one that
    /// a newer version wrote stays: it can be read again after an upgrade.
    fn activation_change(
        &self,
        caller: &Caller,
        rows: &Rows,
        activation: &ActivationRecord,
        old: &[Key],
    ) -> Result<Change, Failure> {
        let (key, put) =
            stored::put_activation(&self.0.trust_domain, activation).map_err(Failure::invalid)?;
        if rows.has(&key)? {
            return Err(Failure::unavailable(
                "another policy set was activated at the same time; look again",
            ));
        }
        let back = if activation.rollback { "back to " } else { "" };
        let mut detail = format!("{back}{} after {}", activation.digest, activation.previous);
        let mut writes = vec![put];
        for key in old {
            match rows.get(key)?.map(|row| records::decode_activation(row)) {
                None | Some(Err(RecordError::FutureSchema { .. })) => continue,
                Some(Ok(_)) => {}
                Some(Err(_damaged)) => {
                    let name = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                    let dropped = format!("; drops damaged {}", name.escape_ascii());
                    detail.push_str(&dropped);
                }
            }
            writes.push(Write::Delete(Arc::clone(key)));
        }
        let mut record = self.0.audit.record(AuditKind::PolicyActivate, caller);
        record.detail = &detail;
        record.reason = &activation.comment;
        Ok(Change {
            drafts: vec![self.0.audit.draft(&record)?],
            writes,
            ..Change::default()
        })
    }

    /// The writes of a policy set's files.
    fn chunks(
        &self,
        activation: &mut ActivationRecord,
        files: Vec<PolicyFile>,
    ) -> Result<Vec<Write>, Failure> {
        let td = &self.0.trust_domain;
        let chunks = records::encode_policy_set(files).map_err(Failure::invalid)?;
        activation.chunks = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let keyed = chunks.into_iter().zip(0..).map(|(chunk, index)| {
            let key = key::policy_chunk(td, digits(&activation.digest), index);
            Write::Put(key.into(), chunk.into())
        });
        Ok(keyed.collect())
    }

    /// The deletions of parts of policy sets that are not among the named ones.
    async fn unnamed_chunks(&self, named: &HashSet<&str>) -> Result<Vec<Write>, Failure> {
        let prefix = key::policy_chunks(&self.0.trust_domain);
        let loaded = self.0.store.load(&prefix).await;
        let records = loaded.map_err(Failure::unavailable)?.records;
        let named: HashSet<&[u8]> = named.iter().map(|d| digits(d).as_bytes()).collect();
        let unnamed = records.into_iter().filter(|(key, _)| {
            let name = key.strip_prefix(prefix.as_slice()).unwrap_or_default();
            let digest = name.rsplitn(2, |byte| *byte == b'-').nth(1);
            digest.is_some_and(|digest| !named.contains(digest))
        });
        let deletions = unnamed.map(|(key, _)| Write::Delete(key));
        Ok(deletions.take(limits::MAX_CHUNKS_FORGOTTEN).collect())
    }

    /// The limits of an entry's tokens.
    ///
    /// # Errors
    /// They cannot be read, and what limits is not ignored.
    pub(crate) fn token_limits(
        &self,
        entry: &EntryId,
    ) -> Result<Option<Arc<TokenLimitsRecord>>, Failure> {
        let view = self.read();
        let lost = !view.poison.is_empty()
            && view
                .poison
                .contains_key(&key::token_limits(&self.0.trust_domain, entry));
        if lost {
            let text = format!("the limits of entry {entry} cannot be read; set them anew");
            return Err(Failure::internal(text));
        }
        Ok(view.limits.get(entry).cloned())
    }

    /// The limits of all entries that have some, in order of entries.
    #[must_use]
    pub(crate) fn all_token_limits(&self) -> Vec<Arc<TokenLimitsRecord>> {
        let mut all: Vec<_> = self.read().limits.values().cloned().collect();
        all.sort_by(|a, b| a.entry.as_str().cmp(b.entry.as_str()));
        all
    }

    /// Sets or takes away the limits of an entry's tokens.
    ///
    /// # Errors
    /// There is no such entry, or the store or journal failed.
    pub(crate) async fn set_token_limits(
        &self,
        caller: &Caller,
        limits: &TokenLimitsRecord,
    ) -> Result<(), Failure> {
        let none = limits.audiences.is_empty() && limits.max_ttl.is_none();
        let keys = self.entry_keys(&limits.entry);
        let decided = self.decide(caller, keys.into(), |rows| {
            let entry = match rows.entry(&limits.entry) {
                Ok(entry) => entry,
                // They can be taken away all the same.
                Err(_unreadable) if none => None,
                Err(unreadable) => return Err(unreadable),
            };
            // Those of an entry that is gone can only be taken away.
            if entry.is_none() && !none {
                return Err(Failure::not_found("there is no such entry"));
            }
            let spiffe_id = entry.as_ref().map_or("", |e| e.spiffe_id.as_str());
            let (draft, write) = self.limits_change(caller, limits, spiffe_id)?;
            let change = Change {
                drafts: vec![draft],
                writes: vec![write],
                ..Change::default()
            };
            Ok(Decision::Change(change, ()))
        });
        decided.await?;
        Ok(())
    }

    /// The record and the write of an entry's new limits.
    ///
    /// # Errors
    /// They cannot be written down.
    pub(super) fn limits_change(
        &self,
        caller: &Caller,
        limits: &TokenLimitsRecord,
        spiffe_id: &str,
    ) -> Result<(Draft, Write), Failure> {
        let none = limits.audiences.is_empty() && limits.max_ttl.is_none();
        let (key, put) =
            stored::put_limits(&self.0.trust_domain, limits).map_err(Failure::invalid)?;
        let write = if none { Write::Delete(key) } else { put };
        let lifetime = limits
            .max_ttl
            .map_or_else(|| "any".into(), |s| s.0.to_string());
        let audiences = limits.audiences.join(" ");
        let detail = format!("audiences [{audiences}], seconds {lifetime}");
        let mut record = self.0.audit.record(AuditKind::EntryLimits, caller);
        record.for_whom = spiffe_id;
        record.entry_id = limits.entry.as_str();
        record.detail = &detail;
        Ok((self.0.audit.draft(&record)?, write))
    }
}

/// The digits of a digest: what a key may hold.
fn digits(digest: &str) -> &str {
    digest.rsplit(':').next().unwrap_or_default()
}
