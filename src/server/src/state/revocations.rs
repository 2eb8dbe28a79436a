//! Revocations as this server decides by them: the newest view of them, ready to be
//! asked on every call, and the one way they are written.

use std::sync::Arc;

use identity::{Revocation, RevocationList, Revoked, Seconds, Timestamp};
use journal::Draft;
use records::key;
use registry::Registry;
use store::{Condition, Key, Value, Write};
use tokio::sync::watch;
use verify::Revocations;

use super::{State, View};
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
    /// change at all only takes the next number. One caller at a time: the conditions
    /// are against other servers.
    ///
    /// # Errors
    /// As [`State::record_and_commit`].
    pub(crate) async fn change_revocations(
        &self,
        caller: &Caller,
        drafts: Vec<Draft>,
        changes: Vec<RevocationChange>,
    ) -> Result<u64, Failure> {
        let td = &self.0.trust_domain;
        let sequence_key: Key = key::revocation_sequence(td).into();
        let held = self.0.store.get(&sequence_key).await;
        let held = held.map_err(Failure::unavailable)?;
        let before = match &held {
            Some(value) => records::decode_revocation_sequence(value).map_err(Failure::internal)?,
            None => 0,
        };
        let next = before.saturating_add(1);
        let value = records::encode_revocation_sequence(next).map_err(Failure::internal)?;
        let mut conditions = vec![match held {
            Some(value) => Condition::Equals(Arc::clone(&sequence_key), value),
            None => Condition::Absent(Arc::clone(&sequence_key)),
        }];
        let mut writes = vec![Write::Put(sequence_key, value.into())];
        for change in changes {
            let key: Key = match &change {
                RevocationChange::Put(revocation) => key::revocation(td, &revocation.what),
                RevocationChange::Delete(what) => key::revocation(td, what),
            }
            .into();
            let there = self.0.store.get(&key).await.map_err(Failure::unavailable)?;
            writes.push(match change {
                RevocationChange::Put(revocation) => {
                    let value = records::encode_revocation(&revocation);
                    let value: Value = value.map_err(Failure::invalid)?.into();
                    Write::Put(Arc::clone(&key), value)
                }
                RevocationChange::Delete(_) => Write::Delete(Arc::clone(&key)),
            });
            conditions.push(match there {
                Some(value) => Condition::Equals(key, value),
                None => Condition::Absent(key),
            });
        }
        if drafts.is_empty() {
            self.commit(conditions, writes).await?;
        } else {
            self.record_and_commit(caller, drafts, conditions, writes)
                .await?;
        }
        Ok(next)
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
