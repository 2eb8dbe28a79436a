//! What the state holds for scoped tokens: activations of policy sets, limits of
//! entries, break-glass. Reads are of memory; a policy set's files alone are read
//! from the store, when it is loaded or shown.

use std::collections::HashSet;
use std::sync::Arc;

use identity::{EntryId, SpiffeId, Timestamp};
use journal::Draft;
use records::{ActivationRecord, AuditKind, BreakGlassRecord, PolicyFile, TokenLimitsRecord, key};
use store::{Condition, Key, Value, Write};
use tokio::sync::watch;

use super::{State, stored};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

impl State {
    /// The activation in force.
    ///
    /// # Errors
    /// An activation cannot be read: it may be the newest, and an older one is not
    /// in force again because of that.
    pub(crate) fn active_policy(&self) -> Result<Option<Arc<ActivationRecord>>, Failure> {
        let view = self.read();
        let lost = view.poison.values().find(|poison| poison.is_policy());
        if let Some(lost) = lost {
            let text = format!(
                "the stored record {} cannot be read: {}",
                lost.key, lost.why
            );
            return Err(Failure::internal(text));
        }
        Ok(view
            .activations
            .last_key_value()
            .map(|(_, a)| Arc::clone(a)))
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
    /// the activation. What no activation names any more goes in the same commit.
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
        let _one_at_a_time = self.0.admin_writes.lock().await;
        let kept = self.activations();
        activation.number = kept.first().map_or(1, |a| a.number.saturating_add(1));
        activation.previous = kept.first().map_or_else(String::new, |a| a.digest.clone());
        let (mut conditions, mut writes) = (Vec::new(), Vec::new());
        if let Some(held) = kept.iter().find(|a| a.digest == activation.digest) {
            activation.chunks = held.chunks;
        } else if let Some(files) = files {
            let chunks = records::encode_policy_set(files).map_err(Failure::invalid)?;
            activation.chunks = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
            for (chunk, index) in chunks.into_iter().zip(0..) {
                let key: Key = key::policy_chunk(td, digits(&activation.digest), index).into();
                writes.push(Write::Put(key, chunk.into()));
            }
        } else {
            return Err(Failure::not_found("there is no such policy set"));
        }
        writes.extend(forgotten(self, &kept, &activation.digest));
        let (key, put) = stored::put_activation(td, &activation).map_err(Failure::invalid)?;
        conditions.push(Condition::Absent(key));
        writes.push(put);
        let what = if activation.rollback { "back to " } else { "" };
        let detail = format!("{what}{} after {}", activation.digest, activation.previous);
        let mut record = self.0.audit.record(AuditKind::PolicyActivate, caller);
        record.detail = &detail;
        record.reason = &activation.comment;
        let draft = self.0.audit.draft(&record)?;
        self.record_and_commit(caller, vec![draft], conditions, writes)
            .await?;
        Ok(Arc::new(activation))
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
        let _one_at_a_time = self.0.admin_writes.lock().await;
        let none = limits.audiences.is_empty() && limits.max_ttl.is_none();
        let entry = self.registry().entry(&limits.entry).cloned();
        // Those of an entry that is gone can only be taken away.
        if entry.is_none() && !none {
            return Err(Failure::not_found("there is no such entry"));
        }
        let spiffe_id = entry.as_ref().map_or("", |e| e.spiffe_id.as_str());
        let (draft, write) = self.limits_change(caller, limits, spiffe_id)?;
        self.record_and_commit(caller, vec![draft], Vec::new(), vec![write])
            .await?;
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

    /// Break-glass of every state, oldest first.
    #[must_use]
    pub(crate) fn break_glass(&self) -> Vec<Arc<BreakGlassRecord>> {
        self.read().glass.values().cloned().collect()
    }

    /// The approved break-glass of a workload that is in force.
    #[must_use]
    pub(crate) fn glass_in_force(
        &self,
        spiffe_id: &SpiffeId,
        now: Timestamp,
    ) -> Option<Arc<BreakGlassRecord>> {
        let view = self.read();
        let mut all = view.glass.values();
        all.find(|g| g.spiffe_id == *spiffe_id && g.approver.is_some() && now < g.ends_at)
            .cloned()
    }

    /// Stores break-glass as it is now; `before` is what it was, `None` for a new one.
    /// What ended long ago goes in the same commit.
    ///
    /// # Errors
    /// It was changed at the same time, or the store or journal failed.
    pub(crate) async fn put_break_glass(
        &self,
        caller: &Caller,
        before: Option<&BreakGlassRecord>,
        now_is: &BreakGlassRecord,
        what: &str,
    ) -> Result<(), Failure> {
        let td = &self.0.trust_domain;
        let _one_at_a_time = self.0.admin_writes.lock().await;
        let (key, put) = stored::put_glass(td, now_is).map_err(Failure::invalid)?;
        let condition = match before {
            None => Condition::Absent(key),
            Some(before) => {
                let value = records::encode_break_glass(before).map_err(Failure::internal)?;
                Condition::Equals(key, value.into())
            }
        };
        let mut writes = vec![put];
        let horizon = self.0.clock.now().minus(limits::GLASS_KEPT);
        let old = self
            .break_glass()
            .into_iter()
            .filter(|g| g.ends_at < horizon);
        writes.extend(old.map(|g| Write::Delete(key::break_glass(td, &g.id).into())));
        if before.is_none() && self.read().glass.len() >= limits::MAX_BREAK_GLASS {
            return Err(Failure::new(
                Kind::Exhausted,
                "too much break-glass is kept",
            ));
        }
        let detail = format!("{what} {} until {}", now_is.id, now_is.ends_at.0);
        let mut record = self.0.audit.record(AuditKind::BreakGlass, caller);
        record.for_whom = now_is.spiffe_id.as_str();
        record.reason = &now_is.ticket;
        record.detail = &detail;
        let draft = self.0.audit.draft(&record)?;
        self.record_and_commit(caller, vec![draft], vec![condition], writes)
            .await?;
        Ok(())
    }
}

/// The digits of a digest: what a key may hold.
fn digits(digest: &str) -> &str {
    digest.rsplit(':').next().unwrap_or_default()
}

/// The deletions of activations beyond those kept, and of the sets nobody names
/// any more.
fn forgotten(state: &State, kept: &[Arc<ActivationRecord>], new: &str) -> Vec<Write> {
    let td = state.trust_domain();
    let most = limits::MAX_ACTIVATIONS.saturating_sub(1).min(kept.len());
    let (stay, go) = kept.split_at(most);
    let named: HashSet<&str> = stay
        .iter()
        .map(|a| a.digest.as_str())
        .chain([new])
        .collect();
    let mut writes = Vec::new();
    let mut gone: HashSet<&str> = HashSet::new();
    for activation in go {
        writes.push(Write::Delete(key::activation(td, activation.number).into()));
        if named.contains(activation.digest.as_str()) || !gone.insert(&activation.digest) {
            continue;
        }
        for index in 0..activation.chunks {
            let key = key::policy_chunk(td, digits(&activation.digest), index);
            writes.push(Write::Delete(key.into()));
        }
    }
    writes
}
