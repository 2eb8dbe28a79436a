//! What each key signed that has not expired yet: counts by expiry, in memory.
//! Noted before anything is signed, so it is never short; after a restart it is
//! filled again from the decision log.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use identity::Timestamp;
use records::{AuditKind, AuditOutcome, AuditRecord};

/// Expiries are counted in steps of so many seconds, rounded up.
const STEP: i64 = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    all: u64,
    minted: u64,
}

#[derive(Debug)]
struct Signed {
    by_expiry: BTreeMap<i64, Count>,
    last_expiry: Timestamp,
}

/// What one key signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outstanding {
    /// Not expired yet.
    pub(super) unexpired: u64,
    /// Of those, what no agent replaces: minted by an administrator, or an authority of a
    /// downstream server.
    pub(super) minted: u64,
    /// When the last of all expires or expired.
    pub(super) last_expiry: Option<Timestamp>,
    /// Whether everything is counted.
    pub(super) counted: bool,
}

/// All keys' counts, by the id of the authority.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    by_key: Mutex<HashMap<Box<str>, Signed>>,
    counted: AtomicBool,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Signed>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something that a key is about to sign.
    pub(super) fn note(&self, id: &str, not_after: Timestamp, minted: bool) {
        let mut by_key = self.lock();
        if let Some(signed) = by_key.get_mut(id) {
            return signed.add(not_after, minted);
        }
        let mut signed = Signed {
            by_expiry: BTreeMap::new(),
            last_expiry: not_after,
        };
        signed.add(not_after, minted);
        by_key.insert(id.into(), signed);
    }

    /// Notes what a record of an earlier run says was signed.
    pub(super) fn note_record(&self, record: &AuditRecord) {
        let view = record.view();
        let signs = match view.kind {
            AuditKind::CaX509 | AuditKind::CaJwt | AuditKind::CaAccess | AuditKind::KeyRotation => {
                false
            }
            _ => view.outcome == AuditOutcome::Granted && !view.authority_id.is_empty(),
        };
        if signs {
            let minted = matches!(
                view.kind,
                AuditKind::MintX509 | AuditKind::MintJwt | AuditKind::DownstreamCa
            );
            self.note(view.authority_id, Timestamp(view.not_after), minted);
        }
    }

    /// Everything of earlier runs has been noted.
    pub(super) fn complete(&self) {
        self.counted.store(true, Ordering::Release);
    }

    /// What a key signed. Forgets what has expired.
    pub(super) fn outstanding(&self, id: &str, now: Timestamp) -> Outstanding {
        let counted = self.counted.load(Ordering::Acquire);
        let mut by_key = self.lock();
        let Some(signed) = by_key.get_mut(id) else {
            return Outstanding {
                counted,
                ..Outstanding::default()
            };
        };
        signed.by_expiry = signed.by_expiry.split_off(&now.0.saturating_add(1));
        let counts = signed.by_expiry.values();
        let (unexpired, minted) = counts.fold((0, 0), |(all, minted), count| {
            (all + count.all, minted + count.minted)
        });
        Outstanding {
            // Rounding up must not keep what has expired.
            unexpired: if signed.last_expiry <= now {
                0
            } else {
                unexpired
            },
            minted: if signed.last_expiry <= now { 0 } else { minted },
            last_expiry: Some(signed.last_expiry),
            counted,
        }
    }

    /// Forgets a key that is gone.
    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }
}

impl Signed {
    fn add(&mut self, not_after: Timestamp, minted: bool) {
        let step = not_after.0.saturating_add(STEP - 1).div_euclid(STEP) * STEP;
        let count = self.by_expiry.entry(step).or_default();
        count.all += 1;
        count.minted += u64::from(minted);
        self.last_expiry = self.last_expiry.max(not_after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expired_counts_no_more_and_the_last_expiry_stays() {
        let ledger = Ledger::default();
        ledger.note("a", Timestamp(105), false);
        ledger.note("a", Timestamp(203), true);
        ledger.note("b", Timestamp(500), false);
        let at = |now| ledger.outstanding("a", Timestamp(now));
        assert_eq!((at(100).unexpired, at(100).minted), (2, 1));
        assert!(!at(100).counted);
        ledger.complete();
        assert_eq!((at(110).unexpired, at(110).minted), (1, 1));
        assert_eq!(at(203).unexpired, 0, "it expires at its own second");
        assert_eq!(at(300).last_expiry, Some(Timestamp(203)));
        assert!(at(300).counted);
        ledger.forget("a");
        assert_eq!(at(100).last_expiry, None);
    }
}
