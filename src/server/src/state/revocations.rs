//! Revocations as this server decides by them: the newest view of them, ready to be
//! asked on every call, and the one way they are written.

use std::sync::Arc;

use identity::{Revocation, RevocationList, Revoked, Seconds, Timestamp, TrustDomain};
use journal::Draft;
use records::key;
use registry::Registry;
use store::{Key, Write};
use tokio::sync::watch;
use verify::Revocations;

use super::{Change, Decision, Rows, State, View};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;

/// One change of what is revoked.
#[derive(Debug)]
pub(crate) enum RevocationChange {
    /// This is revoked from now on.
    Put(Revocation),
    /// This is not revoked any more.
    Delete(Revoked),
}

impl RevocationChange {
    fn what(&self) -> &Revoked {
        match self {
            Self::Put(revocation) => &revocation.what,
            Self::Delete(what) => what,
        }
    }

    fn write(&self, td: &TrustDomain) -> Result<Write, Failure> {
        let key: Key = key::revocation(td, self.what()).into();
        match self {
            Self::Put(revocation) => {
                let value = records::encode_revocation(revocation).map_err(Failure::invalid)?;
                Ok(Write::Put(key, value.into()))
            }
            Self::Delete(_) => Ok(Write::Delete(key)),
        }
    }
}

impl State {
    /// What is revoked, ready to be asked.
    pub(crate) fn revoked(&self) -> Arc<Revocations> {
        self.0.revoked.load_full()
    }

    /// Follows the sequence number of the list of revocations.
    pub(crate) fn revocations_changed(&self) -> watch::Receiver<u64> {
        self.0.revocation_sequence.subscribe()
    }

    /// A new signed list is there for agents to be told.
    pub(crate) fn mark_revocations(&self) {
        self.0.subscribers.mark_revocations();
    }

    /// The list as of now, in one consistent look.
    pub(crate) fn revocation_list(&self, now: Timestamp) -> RevocationList {
        list(&self.registry(), now)
    }

    /// Records and commits changes, with the next sequence number; returns that. No
    /// change at all only takes the next number. The changes were decided on what is in
    /// memory: they are made only while that is what is stored.
    ///
    /// # Errors
    /// What is stored is not what they were decided on; or as [`State::decide`].
    pub(crate) async fn change_revocations(
        &self,
        caller: &Caller,
        drafts: Vec<Draft>,
        changes: Vec<RevocationChange>,
    ) -> Result<u64, Failure> {
        let td = &self.0.trust_domain;
        let sequence: Key = key::revocation_sequence(td).into();
        let rows = changes
            .iter()
            .map(|change| key::revocation(td, change.what()).into());
        let keys = std::iter::once(Arc::clone(&sequence)).chain(rows);
        let decided = self.decide(caller, keys.collect(), |rows| {
            let held = rows.read(&sequence, records::decode_revocation_sequence)?;
            let next = held.unwrap_or(0).saturating_add(1);
            let value = records::encode_revocation_sequence(next).map_err(Failure::internal)?;
            let mut writes = vec![Write::Put(Arc::clone(&sequence), value.into())];
            for change in &changes {
                self.check_basis(rows, change.what())?;
                writes.push(change.write(td)?);
            }
            let change = Change {
                drafts: drafts.iter().map(again).collect(),
                writes,
                ..Change::default()
            };
            Ok::<_, Failure>(Decision::Change(change, next))
        });
        Ok(decided.await?.answer)
    }

    /// Whether a revocation is stored as it is in memory. One that cannot be read is in
    /// memory by what its key names.
    fn check_basis(&self, rows: &Rows, what: &Revoked) -> Result<(), Failure> {
        let registry = self.registry();
        let known = registry.revocation(what);
        match rows.revocation(what) {
            Ok(stored) if stored.as_ref() != known.map(AsRef::as_ref) => Err(Failure::unavailable(
                "what is revoked was changed at the same time; look again",
            )),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The view has other revocations than before: decide by them from now on.
    pub(super) fn take_revocations(&self, view: &View) {
        let revocations = of(view, self.0.clock.now());
        let sequence = revocations.sequence();
        self.0.revoked.store(Arc::clone(&revocations));
        self.0.live_bundles.set_revocations(revocations);
        self.0.revocation_sequence.send_replace(sequence);
    }
}

/// The same record once more, for a decision that is taken again.
fn again(draft: &Draft) -> Draft {
    Draft {
        binding: draft.binding,
        payload: draft.payload.clone(),
        priority: draft.priority,
    }
}

/// The revocations of a view.
pub(super) fn of(view: &View, now: Timestamp) -> Arc<Revocations> {
    Arc::new(Revocations::of(&list(&view.registry, now)))
}

fn list(registry: &Registry, now: Timestamp) -> RevocationList {
    RevocationList {
        trust_domain: registry.trust_domain().clone(),
        sequence: registry.revocation_sequence(),
        issued_at: now,
        next_update: now.plus(Seconds(2 * limits::REVOCATIONS_REFRESH.0)),
        entries: registry.revocations().cloned().collect(),
    }
}
