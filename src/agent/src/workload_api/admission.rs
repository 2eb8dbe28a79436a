//! Who may ask how often: counted for each uid, before the caller is attested,
//! so that a storm of calls from one user costs the others nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::Status;

use super::bucket::{Bucket, Rate};
use crate::Limits;

/// Uids remembered beyond those that have calls open.
const REMEMBERED: usize = 4096;

/// The shares of all uids.
#[derive(Debug)]
pub(crate) struct Admission {
    shares: Mutex<Shares>,
    rate: Rate,
    open_per_uid: u32,
    open: u32,
}

#[derive(Debug, Default)]
struct Shares {
    by_uid: HashMap<u32, Share>,
    open: u32,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    calls: Bucket,
    open: u32,
}

/// An admitted call. It counts as open until dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    uid: u32,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            shares: Mutex::default(),
            rate: Rate {
                per_second: limits.calls_per_second_per_uid.into(),
                burst: limits.call_burst_per_uid.into(),
            },
            open_per_uid: limits.streams_per_uid,
            open: limits.streams,
        })
    }

    /// Counts a call of `uid` at `now` (of the boot clock).
    pub(crate) fn admit(self: &Arc<Self>, uid: u32, now: Duration) -> Result<Admitted, Status> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let shares = &mut *shares;
        let by_uid = &mut shares.by_uid;
        if by_uid.len() >= REMEMBERED && !by_uid.contains_key(&uid) {
            by_uid.retain(|_, share| share.open > 0 || !share.calls.is_full(self.rate, now));
        }
        let share = by_uid.entry(uid).or_insert_with(|| Share {
            calls: Bucket::full(self.rate, now),
            open: 0,
        });
        let mut calls = share.calls;
        if !calls.take(1.0, self.rate, now) {
            share.calls = calls;
            return Err(Status::unavailable(
                "too many calls from this user; call again later",
            ));
        }
        // However many users there are, one more finds room.
        let free = self.open.saturating_sub(shares.open);
        if share.open >= self.open_per_uid || share.open >= free {
            return Err(Status::unavailable(
                "too many open calls from this user; end some first",
            ));
        }
        share.calls = calls;
        share.open += 1;
        shares.open += 1;
        Ok(Admitted {
            admission: Arc::clone(self),
            uid,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let shares = &self.admission.shares;
        let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.open = shares.open.saturating_sub(1);
        if let Some(share) = shares.by_uid.get_mut(&self.uid) {
            share.open = share.open.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Admission;
    use crate::Limits;

    const T0: Duration = Duration::from_secs(100);

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limits = Limits {
            calls_per_second_per_uid: 2,
            call_burst_per_uid: 3,
            ..Limits::default()
        };
        let admission = Admission::new(&limits);
        for _ in 0..3 {
            drop(admission.admit(7, T0).unwrap());
        }
        assert!(admission.admit(7, T0).is_err());
        assert!(
            admission.admit(8, T0).is_ok(),
            "another user is not held back"
        );
        let later = T0 + Duration::from_millis(1000);
        assert!(admission.admit(7, later).is_ok());
        assert!(admission.admit(7, later).is_ok());
        assert!(admission.admit(7, later).is_err());
    }

    #[test]
    fn open_calls_are_bounded_and_given_back() {
        let limits = Limits {
            streams_per_uid: 2,
            ..Limits::default()
        };
        let admission = Admission::new(&limits);
        let first = admission.admit(7, T0).unwrap();
        let _second = admission.admit(7, T0).unwrap();
        assert!(admission.admit(7, T0).is_err());
        drop(first);
        assert!(admission.admit(7, T0).is_ok());
    }

    #[test]
    fn a12_however_many_users_take_all_they_can_one_more_finds_room() {
        let limits = Limits {
            streams: 64,
            streams_per_uid: 64,
            ..Limits::default()
        };
        let admission = Admission::new(&limits);
        let mut open = Vec::new();
        for uid in 1..=4 {
            let before = open.len();
            while let Ok(admitted) = admission.admit(uid, T0) {
                open.push(admitted);
            }
            assert!(open.len() > before, "user {uid} finds no room");
        }
        assert!(admission.admit(0, T0).is_ok(), "nor does root");
        assert!(open.len() < 64);
        drop(open);
        assert!(admission.admit(5, T0).is_ok());
    }

    #[test]
    fn many_users_do_not_fill_the_memory() {
        let admission = Admission::new(&Limits::default());
        for uid in 0..20_000 {
            let _ = admission.admit(uid, T0 + Duration::from_secs(u64::from(uid)));
        }
        assert!(admission.shares.lock().unwrap().by_uid.len() <= super::REMEMBERED + 1);
    }
}
