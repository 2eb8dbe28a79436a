//! Many changes of entries in one commit: all of them or none. What they leave
//! behind is judged as a whole, so that their order plays no part.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use identity::{Entry, EntryFields, EntryId, SpiffeId};
use records::{AuditKind, TokenLimitsRecord, key};
use registry::Registry;

use super::entries::{SameKey, ring, same_key};
use super::{Change, Decision, Rows, State, stored};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

/// One change of many.
#[derive(Debug, Clone)]
pub(crate) enum EntryOperation {
    /// A new entry.
    Create(Entry),
    /// What an entry becomes; id, creation time and revision are those it has.
    Update {
        /// Its new fields.
        fields: EntryFields,
        /// The revision the caller saw.
        seen: i64,
    },
    /// An entry that goes.
    Delete {
        /// Which.
        id: EntryId,
        /// The revision the caller saw.
        seen: i64,
    },
}

/// One change of many, with the limits that the entry's tokens have from then on.
#[derive(Debug, Clone)]
pub(crate) struct EntryChange {
    pub(crate) operation: EntryOperation,
    /// `None` leaves them as they are.
    pub(crate) limits: Option<TokenLimitsRecord>,
}

impl From<EntryOperation> for EntryChange {
    fn from(operation: EntryOperation) -> Self {
        Self {
            operation,
            limits: None,
        }
    }
}

/// How many entries were created, changed and deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) created: u32,
    pub(crate) updated: u32,
    pub(crate) deleted: u32,
}

/// What the operations come to, before anything is written.
#[derive(Default)]
struct Plan {
    /// What entries come to be, new ones and those that exist.
    puts: Vec<(AuditKind, Arc<Entry>)>,
    deletes: Vec<Arc<Entry>>,
    /// Limits of what is in `puts`.
    limits: Vec<(SpiffeId, TokenLimitsRecord)>,
    /// What cannot be done: the first of it is told.
    faults: Vec<Failure>,
    faulty: usize,
}

impl Plan {
    fn fault(&mut self, what: &str, failure: &Failure) {
        self.faulty += 1;
        if self.faults.len() < limits::MAX_APPLY_FAULTS {
            let text = format!("{what}: {}", failure.message());
            self.faults.push(Failure::new(failure.kind(), text));
        }
    }

    /// One failure that tells of all.
    fn refused(&self) -> Option<Failure> {
        let first = self.faults.first()?;
        let lines: Vec<&str> = self.faults.iter().map(Failure::message).collect();
        let told = match self.faulty {
            1 => String::new(),
            count => format!("{count} changes cannot be made, the first of them:\n"),
        };
        let text = format!("{told}{}", lines.join("\n"));
        Some(Failure::new(first.kind(), text))
    }
}

impl State {
    /// Applies all operations in one commit, or none.
    ///
    /// # Errors
    /// What is wrong with each of the first operations that cannot be applied; or
    /// the store or journal failed.
    pub(crate) async fn apply_entries(
        &self,
        caller: &Caller,
        changes: Vec<EntryChange>,
    ) -> Result<Applied, Failure> {
        if changes.len() > limits::MAX_APPLY {
            return Err(Failure::invalid(format!(
                "{} operations given; at most {} are allowed in one commit",
                changes.len(),
                limits::MAX_APPLY
            )));
        }
        let _sets = self.hold_sets().await?;
        let keys = changes
            .iter()
            .flat_map(|change| self.entry_keys(change.operation.id()));
        let decided = self.decide(caller, keys.collect(), |rows| {
            let plan = self.plan(rows, &changes);
            if let Some(failure) = plan.refused() {
                return Err(failure);
            }
            let (change, applied) = self.change(caller, rows, &plan)?;
            Ok(match change.writes.is_empty() {
                true => Decision::Keep(applied),
                false => Decision::Change(change, applied),
            })
        });
        Ok(decided.await?.answer)
    }

    /// The records and writes of a plan that can be made.
    fn change(
        &self,
        caller: &Caller,
        rows: &Rows,
        plan: &Plan,
    ) -> Result<(Change, Applied), Failure> {
        let mut change = Change::default();
        let mut applied = Applied::default();
        for (kind, entry) in &plan.puts {
            let (_, put) =
                stored::put_entry(&self.0.trust_domain, entry).map_err(Failure::invalid)?;
            match kind {
                AuditKind::EntryCreate => applied.created += 1,
                _ => applied.updated += 1,
            }
            change.writes.push(put);
            change.drafts.push(self.entry_record(*kind, caller, entry)?);
        }
        for entry in &plan.deletes {
            applied.deleted += 1;
            self.delete_entry(caller, rows, entry, &mut change)?;
        }
        for (spiffe_id, limits) in &plan.limits {
            let (draft, write) = self.limits_change(caller, limits, spiffe_id.as_str())?;
            change.drafts.push(draft);
            change.writes.push(write);
        }
        Ok((change, applied))
    }

    /// What the operations come to, by the rows of their entries and, where it takes
    /// all entries to tell, by those that are held still meanwhile.
    fn plan(&self, rows: &Rows, changes: &[EntryChange]) -> Plan {
        let registry = self.registry();
        let mut plan = Plan::default();
        let mut named: HashSet<&EntryId> = HashSet::with_capacity(changes.len());
        for EntryChange { operation, limits } in changes {
            let id = operation.id();
            let what = operation.to_string();
            if !named.insert(id) {
                let twice = Failure::invalid("another operation names the same entry");
                plan.fault(&what, &twice);
                continue;
            }
            if let Err(failure) = self.take(rows, operation, &mut plan) {
                plan.fault(&what, &failure);
                continue;
            }
            if let (Some(limits), Some((_, entry))) = (limits, plan.puts.last()) {
                plan.limits.push((entry.spiffe_id.clone(), limits.clone()));
            }
        }
        judge(&registry, &mut plan);
        plan
    }

    fn take(
        &self,
        rows: &Rows,
        operation: &EntryOperation,
        plan: &mut Plan,
    ) -> Result<(), Failure> {
        match operation {
            EntryOperation::Create(entry) => {
                if rows.has(&key::entry(&self.0.trust_domain, &entry.id))? {
                    let taken = "its id is taken; choose another or leave it empty";
                    return Err(Failure::new(Kind::Exists, taken));
                }
                let entry = Arc::new(entry.clone());
                plan.puts.push((AuditKind::EntryCreate, entry));
            }
            EntryOperation::Update { fields, seen } => {
                let old = as_seen(rows, &fields.id, *seen)?;
                let mut fields = fields.clone();
                fields.created_at = old.created_at;
                fields.revision = old.revision.saturating_add(1);
                let entry = Entry::new(fields, &self.0.trust_domain).map_err(Failure::invalid)?;
                plan.puts.push((AuditKind::EntryUpdate, Arc::new(entry)));
            }
            EntryOperation::Delete { id, seen } => {
                plan.deletes.push(Arc::new(as_seen(rows, id, *seen)?));
            }
        }
        Ok(())
    }
}

impl EntryOperation {
    /// The entry's.
    pub(crate) fn id(&self) -> &EntryId {
        match self {
            Self::Create(entry) => &entry.id,
            Self::Update { fields, .. } => &fields.id,
            Self::Delete { id, .. } => id,
        }
    }
}

impl std::fmt::Display for EntryOperation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(entry) => write!(f, "create {}", entry.spiffe_id),
            Self::Update { fields, .. } => write!(f, "update {}", fields.id),
            Self::Delete { id, .. } => write!(f, "delete {id}"),
        }
    }
}

/// The entry, if it still is what the caller saw.
fn as_seen(rows: &Rows, id: &EntryId, seen: i64) -> Result<Entry, Failure> {
    let entry = rows
        .entry(id)?
        .ok_or_else(|| Failure::not_found("there is no such entry (any more)"))?;
    if entry.revision != seen {
        return Err(Failure::new(
            Kind::Precondition,
            format!(
                "it has changed: its revision is {}, not {seen}; look again",
                entry.revision
            ),
        ));
    }
    Ok(entry)
}

/// Judges what the plan leaves behind: how many entries, no two alike, no rings.
fn judge(registry: &Registry, plan: &mut Plan) {
    let created = plan
        .puts
        .iter()
        .filter(|put| put.0 == AuditKind::EntryCreate);
    let total = registry.counts().entries + created.count();
    if total.saturating_sub(plan.deletes.len()) > limits::MAX_ENTRIES {
        let most = format!("at most {} entries are allowed", limits::MAX_ENTRIES);
        plan.fault("all together", &Failure::new(Kind::Exhausted, most));
    }
    let puts: Vec<Arc<Entry>> = plan.puts.iter().map(|put| Arc::clone(&put.1)).collect();
    // Entries whose present contents no longer count.
    let replaced: HashSet<&EntryId> = puts.iter().map(|entry| &entry.id).collect();
    let gone: HashSet<EntryId> = plan.deletes.iter().map(|entry| entry.id.clone()).collect();
    let stays = |id: &EntryId| !gone.contains(id) && !replaced.contains(id);
    let mut alike: HashMap<SameKey, &EntryId> = HashMap::with_capacity(puts.len());
    for entry in &puts {
        let earlier = alike.insert(same_key(entry), &entry.id);
        let there = registry.find_same(entry).filter(|same| stays(&same.id));
        if let Some(same) = earlier.or_else(|| there.map(|same| &same.id)) {
            let text = format!("entry {same} has the same SPIFFE ID, parent and selectors");
            plan.fault(entry.spiffe_id.as_str(), &Failure::new(Kind::Exists, text));
        }
    }
    let parents: HashSet<&SpiffeId> = puts.iter().map(|entry| &entry.parent_id).collect();
    let risky = |entry: &&Arc<Entry>| {
        parents.contains(&entry.spiffe_id) || registry.is_parent(&entry.spiffe_id)
    };
    if puts.iter().any(|entry| risky(&entry)) {
        let staying = registry.entries().filter(|entry| stays(&entry.id));
        let above = Above::of(staying.chain(&puts));
        for entry in puts
            .iter()
            .filter(risky)
            .filter(|entry| above.leads_back(entry))
        {
            plan.fault(entry.spiffe_id.as_str(), &Failure::invalid(ring(entry)));
        }
    }
}

/// For each SPIFFE ID the parents of the entries that give it.
struct Above<'a>(HashMap<&'a SpiffeId, Vec<&'a SpiffeId>>);

impl<'a> Above<'a> {
    fn of(entries: impl Iterator<Item = &'a Arc<Entry>>) -> Self {
        let mut above: HashMap<_, Vec<_>> = HashMap::new();
        for entry in entries {
            above
                .entry(&entry.spiffe_id)
                .or_default()
                .push(&entry.parent_id);
        }
        Self(above)
    }

    /// Whether the parents of an entry lead back to its own SPIFFE ID. An entry
    /// directly under its own SPIFFE ID is a dead end, not a ring.
    fn leads_back(&self, entry: &Entry) -> bool {
        if entry.parent_id == entry.spiffe_id {
            return false;
        }
        let mut seen = HashSet::new();
        let mut next = vec![&entry.parent_id];
        while let Some(id) = next.pop() {
            if *id == entry.spiffe_id {
                return true;
            }
            if seen.insert(id) {
                next.extend(self.0.get(id).into_iter().flatten().copied());
            }
        }
        false
    }
}
