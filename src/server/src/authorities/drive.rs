//! Driving a rotation: step, record, commit, carry out, report back, until nothing
//! more is to be done now.

use std::sync::Arc;

use authority::rotation::{self, Effect, Event, Slot, step};
use records::{AuditKind, AuthorityProfile, AuthorityRecord, key};
use store::{Condition, Key, Value, Write};

use super::rows::Rotor;
use super::{Authorities, Rotors, above_rows, start};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};

/// More steps than any sound chain of events takes; beyond it something loops.
const MAX_STEPS: usize = 64;

impl Authorities {
    /// Lets every rotation look at the clock. Errors of one do not stop the others.
    ///
    /// # Errors
    /// The first thing that could not be done; the next tick tries again.
    pub(crate) async fn tick(&self) -> Result<(), Failure> {
        // By a wrong clock keys would retire and leave that are still in use.
        self.0.parts.audit.check_clock()?;
        let look = self.look_above().await;
        let mut rotors = self.0.rotors.lock().await;
        let mut outcome = Ok(());
        let mut x509 = Event::Tick;
        match self.follow_above(&mut rotors, look).await {
            Ok(event) => x509 = event,
            Err(failure) => outcome = Err(failure),
        }
        for rotor in rotors.all_mut() {
            let event = match rotor.profile {
                AuthorityProfile::X509 => x509.clone(),
                AuthorityProfile::Jwt | AuthorityProfile::Access => Event::Tick,
            };
            outcome = outcome.and(self.drive(rotor, &Caller::Server, event).await);
        }
        self.show(&rotors);
        outcome
    }

    /// One event of one profile, for an administrator.
    pub(super) async fn send(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
        event: impl FnOnce(&Rotor) -> Result<Event, Failure>,
    ) -> Result<(), Failure> {
        let mut rotors = self.0.rotors.lock().await;
        let rotor = rotors.of(profile);
        self.read_again(rotor).await?;
        let event = event(rotor)?;
        let done = self.drive(rotor, caller, event).await;
        self.show(&rotors);
        self.0.changed.notify_one();
        done
    }

    pub(super) async fn drive(
        &self,
        rotor: &mut Rotor,
        caller: &Caller,
        event: Event,
    ) -> Result<(), Failure> {
        self.read_again(rotor).await?;
        let mut event = event;
        for _ in 0..MAX_STEPS {
            let now = self.0.parts.clock.now();
            self.set_policy(rotor);
            let (next, effects) = step(&rotor.state, event, now, &rotor.policy);
            if let Some(Effect::Refuse { why }) = effects.first() {
                return Err(Failure::new(Kind::Precondition, *why));
            }
            self.store(rotor, caller, next).await?;
            match self.first_answer(rotor, effects).await? {
                Some(answer) => event = answer,
                None => return Ok(()),
            }
        }
        Err(Failure::internal("key rotation does not come to rest"))
    }

    /// Carries effects out until one has an answer; the step after that asks for the
    /// others again.
    async fn first_answer(
        &self,
        rotor: &mut Rotor,
        effects: Vec<Effect>,
    ) -> Result<Option<Event>, Failure> {
        for effect in effects {
            if let Some(answer) = self.carry_out(rotor, effect).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Records and commits what changed between the states; only then is it so.
    async fn store(
        &self,
        rotor: &mut Rotor,
        caller: &Caller,
        next: rotation::State,
    ) -> Result<(), Failure> {
        let changes = rotor.changes(&next);
        if changes.is_empty() {
            rotor.state = next;
            return Ok(());
        }
        let td = self.0.parts.state.trust_domain();
        let mut drafts = Vec::with_capacity(changes.len());
        let mut conditions = Vec::with_capacity(changes.len());
        let mut writes = Vec::with_capacity(changes.len());
        let mut stored: Vec<(Slot, AuthorityRecord, Value)> = Vec::with_capacity(changes.len());
        for (slot, row) in changes {
            drafts.push(self.rotation_record(rotor, caller, &row)?);
            let key: Key = key::authority(td, row.profile, &row.id).into();
            let value: Value = records::encode_authority(&row)
                .map_err(Failure::internal)?
                .into();
            conditions.push(match rotor.rows.get(&slot) {
                Some((_, before)) => Condition::Equals(Arc::clone(&key), Arc::clone(before)),
                None => Condition::Absent(Arc::clone(&key)),
            });
            writes.push(Write::Put(key, Arc::clone(&value)));
            stored.push((slot, row, value));
        }
        let state = &self.0.parts.state;
        let committed = state.record_and_commit(caller, drafts, conditions, writes);
        if let Err(failure) = committed.await {
            // It may have happened all the same, or somebody else was first.
            rotor.is_stale = true;
            return Err(failure.into());
        }
        for (slot, row, value) in stored {
            rotor.fresh.remove(&slot);
            rotor.rows.insert(slot, (row, value));
        }
        rotor.state = next;
        Ok(())
    }

    /// After a commit that failed: takes the rows from the store, so that everything is
    /// decided anew on what is there. As long as they cannot be read nothing is decided.
    pub(super) async fn read_again(&self, rotor: &mut Rotor) -> Result<(), Failure> {
        if !rotor.is_stale {
            return Ok(());
        }
        let parts = &self.0.parts;
        let server = parts.plan.server_number.to_string();
        let rows = start::stored_rows(parts).await?;
        if rotor.profile == AuthorityProfile::X509 {
            above_rows::restore(parts, rotor).await?;
        }
        rotor.forget_rows();
        for (row, value) in rows {
            if row.server == server && row.profile == rotor.profile {
                rotor.restore(row, value).map_err(Failure::internal)?;
            }
        }
        rotor.settle();
        start::load_keys(parts, rotor).await?;
        rotor.is_stale = false;
        tracing::warn!(
            profile = rotor.profile.as_str(),
            "signing keys were read again from the store after a commit that failed"
        );
        Ok(())
    }

    fn rotation_record(
        &self,
        rotor: &Rotor,
        caller: &Caller,
        row: &AuthorityRecord,
    ) -> Result<journal::Draft, Failure> {
        let kind = match (
            rotor.fresh.values().any(|fresh| fresh.id == row.id),
            row.profile,
        ) {
            (true, AuthorityProfile::X509) => AuditKind::CaX509,
            (true, AuthorityProfile::Jwt) => AuditKind::CaJwt,
            (true, AuthorityProfile::Access) => AuditKind::CaAccess,
            (false, _) => AuditKind::KeyRotation,
        };
        let detail = format!(
            "{} {:?}{}",
            row.profile.as_str(),
            row.state,
            if row.tainted { ", tainted" } else { "" }
        );
        tracing::info!(authority = row.id, detail, "signing key moved on");
        let mut record = self.0.parts.audit.record(kind, caller);
        record.authority_id = &row.id;
        record.not_after = row.not_after.0;
        record.detail = &detail;
        self.0.parts.audit.draft(&record)
    }

    pub(super) fn show(&self, rotors: &Rotors) {
        let now = self.0.parts.clock.now();
        let known = super::lists::known(&rotors.x509);
        self.0.known.store(Arc::new(known));
        let rotors = rotors.all().into_iter();
        let status = rotors.flat_map(|rotor| self.0.status_of(rotor, now));
        self.0.status.store(Arc::new(status.collect()));
    }
}
