//! Creating, changing and deleting registration entries, in batches: one group of
//! records in the journal, then one commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use identity::{Entry, EntryFields, EntryId, Selectors, SpiffeId};
use journal::Draft;
use records::{AuditKind, key};
use store::{Key, Write};

use super::{Change, Decision, Rows, State, stored};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

/// A change to one entry: gets the fields as they are and returns them as they
/// should be. Id, creation time and revision are the server's to set.
/// It runs again when the entry was changed meanwhile.
pub(crate) type EntryEdit = Box<dyn Fn(EntryFields) -> Result<EntryFields, Failure> + Send + Sync>;

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

/// What goes into one commit: entries, and which items of the call they are.
type Batch = Vec<(usize, Arc<Entry>)>;

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
        let _sets = match self.hold_sets().await {
            Ok(held) => held,
            Err(failure) => {
                return entries
                    .iter()
                    .map(|_| Err(failure.clone().into()))
                    .collect();
            }
        };
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
                self.create_batch(caller, &mut batch, &mut outcomes).await;
            }
            let checked = self.check_create(&entry, &mut seen);
            if checked.is_ok() {
                batch.push((outcomes.len(), Arc::clone(&entry)));
            }
            outcomes.push(checked.map(|()| entry));
            if solo {
                self.create_batch(caller, &mut batch, &mut outcomes).await;
            }
        }
        self.create_batch(caller, &mut batch, &mut outcomes).await;
        outcomes
    }

    /// What the set of all entries says of a new one.
    fn check_create(
        &self,
        entry: &Arc<Entry>,
        seen: &mut HashMap<SameKey, Arc<Entry>>,
    ) -> Result<(), EntryFailure> {
        let same_key = same_key(entry);
        if let Some(same) = seen.get(&same_key) {
            return Err(EntryFailure::Same(Arc::clone(same)));
        }
        let registry = self.registry();
        if let Some(same) = registry.find_same(entry) {
            return Err(EntryFailure::Same(Arc::clone(same)));
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
        seen.insert(same_key, Arc::clone(entry));
        Ok(())
    }

    async fn create_batch(&self, caller: &Caller, batch: &mut Batch, outcomes: &mut [Outcome]) {
        let key = |entry: &Entry| vec![key::entry(&self.0.trust_domain, &entry.id).into()];
        self.commit_batch(caller, (batch, outcomes), key, |rows, entry, change| {
            self.create_entry(caller, rows, entry, change)
        })
        .await;
    }

    /// Adds a new entry to a change whose rows include the entry's.
    ///
    /// # Errors
    /// Its id is taken, or it cannot be written down.
    pub(crate) fn create_entry(
        &self,
        caller: &Caller,
        rows: &Rows,
        entry: &Entry,
        change: &mut Change,
    ) -> Result<(), Failure> {
        let (key, put) =
            stored::put_entry(&self.0.trust_domain, entry).map_err(Failure::invalid)?;
        if rows.has(&key)? {
            let id = &entry.id;
            let message = format!("entry id {id} is taken; choose another or leave it empty");
            return Err(Failure::new(Kind::Exists, message));
        }
        let draft = self.entry_record(AuditKind::EntryCreate, caller, entry)?;
        change.drafts.push(draft);
        change.writes.push(put);
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
        let _sets = match self.hold_sets().await {
            Ok(held) => held,
            Err(failure) => return edits.iter().map(|_| Err(failure.clone().into())).collect(),
        };
        let mut outcomes = Vec::with_capacity(edits.len());
        for (id, edit) in edits {
            outcomes.push(self.update_one(caller, &id, &edit).await);
        }
        outcomes
    }

    async fn update_one(&self, caller: &Caller, id: &EntryId, edit: &EntryEdit) -> Outcome {
        let keys = vec![key::entry(&self.0.trust_domain, id).into()];
        let decided = self.decide(caller, keys, |rows| {
            let old = rows.entry(id)?.ok_or_else(|| no_such_entry(id))?;
            let entry = Arc::new(self.edited(old, edit)?);
            self.check_update(&entry)?;
            let (_, put) =
                stored::put_entry(&self.0.trust_domain, &entry).map_err(Failure::invalid)?;
            let change = Change {
                drafts: vec![self.entry_record(AuditKind::EntryUpdate, caller, &entry)?],
                writes: vec![put],
                ..Change::default()
            };
            Ok::<_, EntryFailure>(Decision::Change(change, entry))
        });
        Ok(decided.await?.answer)
    }

    /// An entry as an edit leaves it.
    fn edited(&self, old: Entry, edit: &EntryEdit) -> Result<Entry, Failure> {
        let (id, created_at, revision) = (old.id.clone(), old.created_at, old.revision);
        let mut fields = edit(old.into_fields())?;
        fields.id = id;
        fields.created_at = created_at;
        fields.revision = revision.saturating_add(1);
        Entry::new(fields, &self.0.trust_domain).map_err(Failure::invalid)
    }

    /// What the set of all entries says of a changed one.
    fn check_update(&self, entry: &Arc<Entry>) -> Result<(), EntryFailure> {
        let registry = self.registry();
        let same = registry.find_same(entry);
        if let Some(same) = same.filter(|same| same.id != entry.id) {
            return Err(EntryFailure::Same(Arc::clone(same)));
        }
        if registry.would_cycle(entry) {
            return Err(Failure::invalid(ring(entry)).into());
        }
        Ok(())
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
        let _sets = match self.hold_sets().await {
            Ok(held) => held,
            Err(failure) => return ids.iter().map(|_| Err(failure.clone())).collect(),
        };
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(ids.len());
        let mut batch = Batch::default();
        let mut named: HashSet<&EntryId> = HashSet::with_capacity(ids.len());
        for (n, id) in ids.iter().enumerate() {
            let entry = self.registry().entry(id).cloned();
            let entry = entry.filter(|_| named.insert(id));
            batch.extend(entry.clone().map(|entry| (n, entry)));
            outcomes.push(entry.ok_or_else(|| no_such_entry(id).into()));
        }
        let keys = |entry: &Entry| self.entry_keys(&entry.id).to_vec();
        let outcome = &mut outcomes[..];
        self.commit_batch(
            caller,
            (&mut batch, outcome),
            keys,
            |rows, entry, change| {
                let deleted = self.delete_entry(caller, rows, entry, change)?;
                deleted
                    .then_some(())
                    .ok_or_else(|| no_such_entry(&entry.id))
            },
        )
        .await;
        outcomes
            .into_iter()
            .map(|o| o.map(|_| ()).map_err(Failure::from))
            .collect()
    }

    /// The rows that belong to an entry: its own, and the limits of its tokens.
    pub(crate) fn entry_keys(&self, id: &EntryId) -> [Key; 2] {
        let td = &self.0.trust_domain;
        [key::entry(td, id).into(), key::token_limits(td, id).into()]
    }

    /// Adds the deletion of an entry to a change whose rows include the entry's
    /// ([`State::entry_keys`]); says whether there was anything to delete.
    ///
    /// # Errors
    /// The change's rows do not include them.
    pub(crate) fn delete_entry(
        &self,
        caller: &Caller,
        rows: &Rows,
        entry: &Entry,
        change: &mut Change,
    ) -> Result<bool, Failure> {
        let [own, limits] = self.entry_keys(&entry.id);
        if !rows.has(&own)? {
            return Ok(false);
        }
        let draft = self.entry_record(AuditKind::EntryDelete, caller, entry)?;
        change.drafts.push(draft);
        change.writes.push(Write::Delete(own));
        if rows.has(&limits)? {
            change.writes.push(Write::Delete(limits));
        }
        Ok(true)
    }

    /// Decides on each item of a batch by its rows, and commits all that was decided at
    /// once. An item that is refused leaves the others alone; a commit that fails fails
    /// every item.
    async fn commit_batch(
        &self,
        caller: &Caller,
        (batch, outcomes): (&mut Batch, &mut [Outcome]),
        keys: impl Fn(&Entry) -> Vec<Key>,
        add: impl Fn(&Rows, &Entry, &mut Change) -> Result<(), Failure> + Send + Sync,
    ) {
        let batch = std::mem::take(batch);
        if batch.is_empty() {
            return;
        }
        let keys = batch.iter().flat_map(|(_, entry)| keys(entry)).collect();
        let decided = self.decide(caller, keys, |rows| -> Result<_, Failure> {
            let (mut change, mut refused) = (Change::default(), Vec::new());
            for (n, entry) in &batch {
                if let Err(failure) = add(rows, entry, &mut change) {
                    refused.push((*n, failure));
                }
            }
            Ok(match change.writes.is_empty() {
                true => Decision::Keep(refused),
                false => Decision::Change(change, refused),
            })
        });
        let refused = match decided.await {
            Ok(decided) => decided.answer,
            Err(failure) => batch.iter().map(|(n, _)| (*n, failure.clone())).collect(),
        };
        for (n, failure) in refused {
            if let Some(outcome) = outcomes.get_mut(n) {
                *outcome = Err(failure.into());
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
