//! Between the rotation's state and the rows that keep it: one row for each key,
//! the removed ones' kept as tombstones so that no slot is used twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use authority::rotation::{self, Phase, Policy, Slot};
use identity::{Seconds, Timestamp};
use keys::Signer;
use records::{AuthorityProfile, AuthorityRecord, AuthorityState};
use store::Value;

use super::above::Above;

/// One profile's rotation: its state, its rows, its keys.
pub(super) struct Rotor {
    pub(super) profile: AuthorityProfile,
    pub(super) policy: Policy,
    pub(super) state: rotation::State,
    /// Rows as they are stored, by slot, with their bytes.
    pub(super) rows: BTreeMap<Slot, (AuthorityRecord, Value)>,
    /// Keys that were made and whose rows are not committed yet.
    pub(super) fresh: BTreeMap<Slot, AuthorityRecord>,
    pub(super) signers: BTreeMap<Slot, Arc<dyn Signer>>,
    /// Since when, by the uptime, this process knows a key to be in the bundle. The wall
    /// clock may be set ahead; verifiers come no sooner for it.
    pub(super) public_since: BTreeMap<Slot, Duration>,
    /// What is known of the authority above; of X.509 alone.
    pub(super) above: Above,
    /// Whether the rows may be others than these: a commit failed, or nobody knows what
    /// became of it. They are read again before anything is decided on them.
    pub(super) is_stale: bool,
}

/// A revoked key's row says that its last expiry was before all time.
const REVOKED: Timestamp = Timestamp(i64::MIN);

impl Rotor {
    pub(super) fn new(profile: AuthorityProfile, policy: Policy) -> Self {
        Self {
            profile,
            policy,
            state: rotation::State::default(),
            rows: BTreeMap::new(),
            fresh: BTreeMap::new(),
            signers: BTreeMap::new(),
            public_since: BTreeMap::new(),
            above: Above::default(),
            is_stale: false,
        }
    }

    /// Takes a stored row in. Rows come in any order; call [`Rotor::settle`] after.
    pub(super) fn restore(&mut self, row: AuthorityRecord, value: Value) -> Result<(), String> {
        let slot =
            slot_of(&row.key_id).ok_or_else(|| format!("key id {:?} names no slot", row.key_id))?;
        self.state.next_slot = self.state.next_slot.max(slot.saturating_add(1));
        if row.state != AuthorityState::Removed {
            self.state.keys.push(key_of(slot, &row));
        }
        self.rows.insert(slot, (row, value));
        Ok(())
    }

    /// Forgets the rows, to take them in again from the store. Keys that were made and
    /// have a row by then are no longer fresh.
    pub(super) fn forget_rows(&mut self) {
        self.rows.clear();
        self.state.keys.clear();
    }

    pub(super) fn settle(&mut self) {
        let rows = &self.rows;
        self.fresh.retain(|slot, _| !rows.contains_key(slot));
        self.state.keys.sort_by_key(|key| key.slot);
    }

    /// The row of a key, stored or fresh.
    pub(super) fn row(&self, slot: Slot) -> Option<&AuthorityRecord> {
        self.rows
            .get(&slot)
            .map(|(row, _)| row)
            .or_else(|| self.fresh.get(&slot))
    }

    /// The time by which it is judged whether a key has been public for long enough: as
    /// long as the uptime says, if that is less.
    pub(super) fn steady(
        &self,
        key: &rotation::Key,
        now: Timestamp,
        uptime: Duration,
    ) -> Timestamp {
        let Phase::Published { at, .. } = key.phase else {
            return now;
        };
        let since = self.public_since.get(&key.slot).copied();
        let public_for = uptime.saturating_sub(since.unwrap_or(uptime)).as_secs();
        now.min(at.plus(Seconds(u32::try_from(public_for).unwrap_or(u32::MAX))))
    }

    /// The slot of an authority's id.
    pub(super) fn slot_named(&self, id: &str) -> Option<Slot> {
        self.state
            .keys
            .iter()
            .find(|key| &*key.id == id)
            .map(|key| key.slot)
    }

    /// The rows that differ between what is stored and the next state.
    pub(super) fn changes(&self, next: &rotation::State) -> Vec<(Slot, AuthorityRecord)> {
        let live = next
            .keys
            .iter()
            .filter_map(|key| Some((key.slot, row_of(key, self.row(key.slot)?))));
        let gone = self.rows.iter().filter(|(slot, (row, _))| {
            row.state != AuthorityState::Removed && next.key(**slot).is_none()
        });
        let gone = gone.map(|(slot, (row, _))| {
            let mut row = row.clone();
            row.state = AuthorityState::Removed;
            (*slot, row)
        });
        let differs = |(slot, row): &(Slot, AuthorityRecord)| {
            self.rows.get(slot).is_none_or(|(stored, _)| stored != row)
        };
        live.chain(gone).filter(differs).collect()
    }
}

/// The storage's key id of a slot: `x509-1-0` is server 1's first X.509 key.
pub(super) fn key_id(profile: AuthorityProfile, server_number: u8, slot: Slot) -> String {
    format!("{}-{server_number}-{slot}", profile.as_str())
}

fn slot_of(key_id: &str) -> Option<Slot> {
    key_id.rsplit_once('-')?.1.parse().ok()
}

fn key_of(slot: Slot, row: &AuthorityRecord) -> rotation::Key {
    let phase = match row.state {
        AuthorityState::Prepared => Phase::Prepared,
        // Whether it was acknowledged is found out anew.
        AuthorityState::Published => Phase::Published {
            at: row.since,
            acknowledged: false,
        },
        AuthorityState::Active => Phase::Active { at: row.since },
        AuthorityState::Retired | AuthorityState::Removed => Phase::Retired {
            at: row.since,
            last_expiry: row.last_expiry,
            revoked: row.last_expiry == REVOKED,
        },
    };
    rotation::Key {
        slot,
        id: row.id.as_str().into(),
        not_before: row.not_before,
        not_after: row.not_after,
        phase,
        tainted: row.tainted,
    }
}

fn row_of(key: &rotation::Key, before: &AuthorityRecord) -> AuthorityRecord {
    let mut row = before.clone();
    row.tainted = key.tainted;
    match key.phase {
        Phase::Prepared => row.state = AuthorityState::Prepared,
        Phase::Published { at, .. } => {
            row.state = AuthorityState::Published;
            row.since = at;
        }
        Phase::Active { at } => {
            row.state = AuthorityState::Active;
            row.since = at;
        }
        Phase::Retired {
            at,
            last_expiry,
            revoked,
        } => {
            row.state = AuthorityState::Retired;
            row.since = at;
            row.last_expiry = if revoked { REVOKED } else { last_expiry };
        }
    }
    row
}
