//! Who may ask how often: counted for each uid, before the caller is attested,
//! so that a storm of calls from one user costs the others nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::Status;

use crate::Limits;

/// Uids remembered beyond those that have calls open.
const REMEMBERED: usize = 4096;

/// The shares of all uids.
#[derive(Debug)]
pub(crate) struct Admission {
    shares: Mutex<HashMap<u32, Share>>,
    per_second: f64,
    burst: f64,
    open: u32,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    tokens: f64,
    at: Duration,
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
            per_second: limits.calls_per_second_per_uid.into(),
            burst: limits.call_burst_per_uid.into(),
            open: limits.streams_per_uid,
        })
    }

    /// Counts a call of `uid` at `now` (of the boot clock).
    pub(crate) fn admit(self: &Arc<Self>, uid: u32, now: Duration) -> Result<Admitted, Status> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() >= REMEMBERED && !shares.contains_key(&uid) {
            self.forget_the_idle(&mut shares, now);
        }
        let fresh = Share {
            tokens: self.burst,
            at: now,
            open: 0,
        };
        let share = shares.entry(uid).or_insert(fresh);
        let passed = now.saturating_sub(share.at).as_secs_f64();
        share.tokens = passed
            .mul_add(self.per_second, share.tokens)
            .min(self.burst);
        share.at = now;
        if share.tokens < 1.0 {
            return Err(Status::unavailable(
                "too many calls from this user; call again later",
            ));
        }
        if share.open >= self.open {
            return Err(Status::unavailable(
                "too many open calls from this user; end some first",
            ));
        }
        share.tokens -= 1.0;
        share.open += 1;
        Ok(Admitted {
            admission: Arc::clone(self),
            uid,
        })
    }

    // A uid without open calls whose tokens are full again is as good as unknown.
    fn forget_the_idle(&self, shares: &mut HashMap<u32, Share>, now: Duration) {
        shares.retain(|_, share| {
            let passed = now.saturating_sub(share.at).as_secs_f64();
            share.open > 0 || passed.mul_add(self.per_second, share.tokens) < self.burst
        });
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let shares = &self.admission.shares;
        let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get_mut(&self.uid) {
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
    fn many_users_do_not_fill_the_memory() {
        let admission = Admission::new(&Limits::default());
        for uid in 0..20_000 {
            let _ = admission.admit(uid, T0 + Duration::from_secs(u64::from(uid)));
        }
        assert!(admission.shares.lock().unwrap().len() <= super::REMEMBERED + 1);
    }
}
