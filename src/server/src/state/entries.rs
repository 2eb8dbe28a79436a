//! Creating, changing and deleting registration entries, in batches: one group of
//! records in the journal, then one commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use identity::{Entry, EntryFields, EntryId, Selectors, SpiffeId};
use journal::Draft;
use records::{AuditKind, key};
use store::{Condition, Key, Value, Write};

use super::{State, stored};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

/// A change to one entry: gets the fields as they are and returns them as they
/// should be. Id, creation time and revision are the server's to set.
pub(crate) type EntryEdit = Box<dyn FnOnce(EntryFields) -> Result<EntryFields, Failure> + Send>;

/// Why one entry of a batch was not created or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryFailure {
    /// An entry with the same SPIFFE ID, parent and selectors exists: this one.
    Same(Arc<Entry>),
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for EntryFailure {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<EntryFailure> for Failure {
    fn from(failure: EntryFailure) -> Self {
        match failure {
            EntryFailure::Same(entry) => Self::new(
                Kind::Exists,
                format!(
                    "entry {} has the same SPIFFE ID, parent and selectors",
                    entry.id
                ),
            ),
            EntryFailure::Failed(failure) => failure,
        }
    }
}

type Outcome = Result<Arc<Entry>, EntryFailure>;
pub(super) type SameKey = (SpiffeId, SpiffeId, Selectors);

/// What goes into one commit, gathered item by item.
#[derive(Default)]
struct Batch {
    drafts: Vec<Draft>,
    conditions: Vec<Condition>,
    writes: Vec<Write>,
    /// Which items of the call are in it.
    items: Vec<usize>,
}

impl State {
    /// Creates entries. Items answer in order; a refused item leaves the others alone.
    pub(crate) async fn create_entries(
        &self,
        caller: &Caller,
        entries: Vec<Entry>,
    ) -> Vec<Outcome> {
        if let Err(failure) = check_batch(entries.len()) {
            return entries
                .iter()
                .map(|_| Err(failure.clone().into()))
                .collect();
        }
        let _one_at_a_time = self.0.admin_writes.lock().await;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(entries.len());
        let mut batch = Batch::default();
        let mut seen: HashMap<SameKey, Arc<Entry>> = HashMap::with_capacity(entries.len());
        let parents: HashSet<SpiffeId> = entries
            .iter()
            .map(|entry| entry.parent_id.clone())
            .collect();
        for entry in entries {
            let entry = Arc::new(entry);
            let solo =
                parents.contains(&entry.spiffe_id) || self.registry().is_parent(&entry.spiffe_id);
            if solo {
                // It could close a ring together with others: look at a settled registry.
                self.flush(caller, &mut batch, &mut outcomes).await;
            }
            let prepared = self.prepare_create(caller, &entry, &mut seen, &mut batch);
            if prepared.is_ok() {
                batch.items.push(outcomes.len());
            }
            outcomes.push(prepared.map(|()| Arc::clone(&entry)));
            if solo {
                self.flush(caller, &mut batch, &mut outcomes).await;
            }
        }
        self.flush(caller, &mut batch, &mut outcomes).await;
        outcomes
    }

    fn prepare_create(
        &self,
        caller: &Caller,
        entry: &Arc<Entry>,
        seen: &mut HashMap<SameKey, Arc<Entry>>,
        batch: &mut Batch,
    ) -> Result<(), EntryFailure> {
        let same_key = same_key(entry);
        if let Some(same) = seen.get(&same_key) {
            return Err(EntryFailure::Same(Arc::clone(same)));
        }
        {
            let registry = self.registry();
            if let Some(same) = registry.find_same(entry) {
                return Err(EntryFailure::Same(Arc::clone(same)));
            }
            if registry.entry(&entry.id).is_some() {
                let message = format!(
                    "entry id {} is taken; choose another or leave it empty",
                    entry.id
                );
                return Err(Failure::new(Kind::Exists, message).into());
            }
            if registry.counts().entries >= limits::MAX_ENTRIES {
                let message = format!(
                    "there are {} entries already, the most allowed",
                    limits::MAX_ENTRIES
                );
                return Err(Failure::new(Kind::Exhausted, message).into());
            }
            if registry.would_cycle(entry) {
                return Err(Failure::invalid(ring(entry)).into());
            }
        }
        let (key, put) =
            stored::put_entry(&self.0.trust_domain, entry).map_err(Failure::invalid)?;
        batch
            .drafts
            .push(self.entry_record(AuditKind::EntryCreate, caller, entry)?);
        batch.conditions.push(Condition::Absent(key));
        batch.writes.push(put);
        seen.insert(same_key, Arc::clone(entry));
        Ok(())
    }

    /// Changes entries. Each edit sees the entry as it is stored at that moment.
    pub(crate) async fn update_entries(
        &self,
        caller: &Caller,
        edits: Vec<(EntryId, EntryEdit)>,
    ) -> Vec<Outcome> {
        if let Err(failure) = check_batch(edits.len()) {
            return edits.iter().map(|_| Err(failure.clone().into())).collect();
        }
        let _one_at_a_time = self.0.admin_writes.lock().await;
        let mut outcomes = Vec::with_capacity(edits.len());
        for (id, edit) in edits {
            outcomes.push(self.update_one(caller, &id, edit).await);
        }
        outcomes
    }

    async fn update_one(&self, caller: &Caller, id: &EntryId, edit: EntryEdit) -> Outcome {
        let key: Key = key::entry(&self.0.trust_domain, id).into();
        let current = self.stored_entry(id, &key).await?;
        let (old, bytes) = current;
        let (created_at, revision) = (old.created_at, old.revision);
        let mut fields = edit(old.into_fields())?;
        fields.id = id.clone();
        fields.created_at = created_at;
        fields.revision = revision.saturating_add(1);
        let entry = Arc::new(Entry::new(fields, &self.0.trust_domain).map_err(Failure::invalid)?);
        {
            let registry = self.registry();
            if let Some(same) = registry.find_same(&entry).filter(|same| same.id != *id) {
                return Err(EntryFailure::Same(Arc::clone(same)));
            }
            if registry.would_cycle(&entry) {
                return Err(Failure::invalid(ring(&entry)).into());
            }
        }
        let (_, put) = stored::put_entry(&self.0.trust_domain, &entry).map_err(Failure::invalid)?;
        let draft = self.entry_record(AuditKind::EntryUpdate, caller, &entry)?;
        let conditions = vec![Condition::Equals(key, bytes)];
        let done = self
            .record_and_commit(caller, vec![draft], conditions, vec![put])
            .await;
        done.map_err(|failure| EntryFailure::Failed(failure.into()))?;
        Ok(entry)
    }

    /// The entry as the store has it now, with its bytes.
    async fn stored_entry(&self, id: &EntryId, key: &Key) -> Result<(Entry, Value), Failure> {
        if self.registry().entry(id).is_none() {
            return Err(no_such_entry(id));
        }
        let bytes = self.0.store.get(key).await.map_err(Failure::unavailable)?;
        let bytes = bytes.ok_or_else(|| no_such_entry(id))?;
        let entry =
            records::decode_entry(&bytes, &self.0.trust_domain).map_err(Failure::internal)?;
        Ok((entry, bytes))
    }

    /// Deletes entries.
    pub(crate) async fn delete_entries(
        &self,
        caller: &Caller,
        ids: Vec<EntryId>,
    ) -> Vec<Result<(), Failure>> {
        if let Err(failure) = check_batch(ids.len()) {
            return ids.iter().map(|_| Err(failure.clone())).collect();
        }
        let _one_at_a_time = self.0.admin_writes.lock().await;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(ids.len());
        let mut batch = Batch::default();
        for (n, id) in ids.iter().enumerate() {
            let repeated = ids
                .get(..n)
                .is_some_and(|earlier| ids.len() > 1 && earlier.contains(id));
            let prepared = if repeated {
                Err(no_such_entry(id).into())
            } else {
                self.prepare_delete(caller, id, &mut batch)
            };
            if prepared.is_ok() {
                batch.items.push(n);
            }
            outcomes.push(prepared);
        }
        self.flush(caller, &mut batch, &mut outcomes).await;
        outcomes
            .into_iter()
            .map(|o| o.map(|_| ()).map_err(Failure::from))
            .collect()
    }

    fn prepare_delete(&self, caller: &Caller, id: &EntryId, batch: &mut Batch) -> Outcome {
        let entry = self
            .registry()
            .entry(id)
            .cloned()
            .ok_or_else(|| no_such_entry(id))?;
        batch
            .drafts
            .push(self.entry_record(AuditKind::EntryDelete, caller, &entry)?);
        let key: Key = key::entry(&self.0.trust_domain, id).into();
        batch.conditions.push(Condition::Present(Arc::clone(&key)));
        batch.writes.push(Write::Delete(key));
        Ok(entry)
    }

    /// Records, then commits, what was gathered; a failure becomes the answer of
    /// every item in it.
    async fn flush(&self, caller: &Caller, batch: &mut Batch, outcomes: &mut [Outcome]) {
        let batch = std::mem::take(batch);
        if batch.items.is_empty() {
            return;
        }
        let done = self.record_and_commit(caller, batch.drafts, batch.conditions, batch.writes);
        if let Err(failure) = done.await {
            let failure = Failure::from(failure);
            for n in batch.items {
                if let Some(outcome) = outcomes.get_mut(n) {
                    *outcome = Err(failure.clone().into());
                }
            }
        }
    }

    pub(crate) fn entry_record(
        &self,
        kind: AuditKind,
        caller: &Caller,
        entry: &Entry,
    ) -> Result<Draft, Failure> {
        let mut record = self.0.audit.record(kind, caller);
        record.for_whom = entry.spiffe_id.as_str();
        record.entry_id = entry.id.as_str();
        self.0.audit.draft(&record)
    }
}

fn check_batch(items: usize) -> Result<(), Failure> {
    if items > limits::MAX_BATCH {
        let message = format!(
            "{items} items given; at most {} are allowed in one call",
            limits::MAX_BATCH
        );
        return Err(Failure::new(Kind::Invalid, message));
    }
    Ok(())
}

pub(super) fn same_key(entry: &Entry) -> SameKey {
    (
        entry.spiffe_id.clone(),
        entry.parent_id.clone(),
        entry.selectors.clone(),
    )
}

fn no_such_entry(id: &EntryId) -> Failure {
    Failure::not_found(format!("there is no entry {id}"))
}

pub(super) fn ring(entry: &Entry) -> String {
    format!(
        "entry {} would become its own ancestor through its parent {}",
        entry.spiffe_id, entry.parent_id
    )
}
