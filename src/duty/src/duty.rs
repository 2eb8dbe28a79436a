//! One duty: a handle for whoever does it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Condition, Standing, Weight};

/// The longest error that is kept of a duty, in bytes; more is cut off.
pub const MAX_ERROR_BYTES: usize = 512;

/// A duty, for whoever does it and reports how that went. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Duty(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    weight: Weight,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    within: Duration,
    /// From here the deadline counts: the last success, or the beginning.
    since: Duration,
    tried: Duration,
    succeeded: Option<Duration>,
    error: Option<String>,
    lost: bool,
    resting: bool,
}

impl Duty {
    pub(crate) fn new(name: &'static str, within: Duration, weight: Weight, now: Duration) -> Self {
        Self(Arc::new(Inner {
            name,
            weight,
            state: Mutex::new(State {
                within,
                since: now,
                tried: now,
                succeeded: None,
                error: None,
                lost: false,
                resting: false,
            }),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name, as it was registered.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// It was done at `now`.
    pub fn done(&self, now: Duration) {
        let mut state = self.lock();
        state.since = now;
        state.tried = now;
        state.succeeded = Some(now);
        state.error = None;
        state.lost = false;
        state.resting = false;
    }

    /// It was done at `now`, and the next time is due `within` from then; for duties
    /// whose deadline follows from what they renew.
    pub fn done_until(&self, now: Duration, within: Duration) {
        self.done(now);
        self.lock().within = within;
    }

    /// It was tried at `now` and failed. Never a secret in `why`.
    pub fn failed(&self, now: Duration, why: impl Into<String>) {
        let mut state = self.lock();
        if state.resting {
            state.since = now;
            state.resting = false;
        }
        state.tried = now;
        state.error = Some(clipped(why.into()));
    }

    /// Reports the outcome of a try.
    pub fn report<E: ToString>(&self, now: Duration, outcome: &Result<(), E>) {
        match outcome {
            Ok(()) => self.done(now),
            Err(error) => self.failed(now, error.to_string()),
        }
    }

    /// It can never be done again in this process: late from now on, whatever the
    /// deadline says. A later success takes this back.
    pub fn lost(&self, why: impl Into<String>) {
        let mut state = self.lock();
        state.lost = true;
        state.error = Some(clipped(why.into()));
    }

    /// There is nothing to do until the next report or [`Duty::expect`]: not late
    /// meanwhile.
    pub fn rest(&self) {
        let mut state = self.lock();
        state.resting = true;
        state.lost = false;
        state.error = None;
    }

    /// From `now` on it is due again: the deadline counts from here when the duty
    /// rested, and goes on counting when it did not.
    pub fn expect(&self, now: Duration) {
        let mut state = self.lock();
        if state.resting {
            state.resting = false;
            state.since = now;
            state.tried = now;
        }
    }

    pub(crate) fn excuse(&self, now: Duration) {
        self.lock().tried = now;
    }

    /// How it stands at `now`.
    #[must_use]
    pub fn standing(&self, now: Duration) -> Standing {
        let state = self.lock();
        Standing {
            name: self.0.name.to_owned(),
            weight: self.0.weight,
            condition: state.condition(now),
            last_success_seconds: state.succeeded.map(|at| now.saturating_sub(at).as_secs()),
            within_seconds: state.within.as_secs(),
            error: state.error.clone(),
        }
    }
}

impl State {
    fn condition(&self, now: Duration) -> Condition {
        let is_late = |since: Duration| now.saturating_sub(since) > self.within;
        if self.lost {
            Condition::Lost
        } else if self.resting || !is_late(self.since) {
            Condition::Well
        } else if is_late(self.tried) {
            Condition::Stuck
        } else {
            Condition::Failing
        }
    }
}

fn clipped(mut why: String) -> String {
    let end = (0..=MAX_ERROR_BYTES)
        .rev()
        .find(|at| why.is_char_boundary(*at));
    why.truncate(end.unwrap_or_default());
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn duty() -> Duty {
        Duty::new("rotation", s(60), Weight::Vital, s(100))
    }

    #[test]
    fn a_duty_that_nobody_reports_becomes_stuck() {
        let duty = duty();
        assert_eq!(duty.standing(s(160)).condition, Condition::Well);
        let standing = duty.standing(s(161));
        assert_eq!(standing.condition, Condition::Stuck);
        assert_eq!(standing.last_success_seconds, None);
        assert!(standing.asks_for_restart());
    }

    #[test]
    fn a_duty_that_fails_is_late_and_asks_for_no_restart() {
        let duty = duty();
        duty.done(s(110));
        duty.failed(s(165), "away");
        assert_eq!(duty.standing(s(170)).condition, Condition::Well);
        let standing = duty.standing(s(171));
        assert_eq!(standing.condition, Condition::Failing);
        assert!(!standing.asks_for_restart() && standing.is_in_the_way());
        assert_eq!(
            standing.to_string(),
            "rotation is late: it is tried and fails; last done 61 s ago, due every 60 s: away"
        );
        duty.done(s(172));
        let well = duty.standing(s(173));
        assert_eq!((well.condition, well.error), (Condition::Well, None));
    }

    #[test]
    fn what_is_lost_is_late_at_once() {
        let duty = duty();
        duty.done(s(101));
        duty.lost("the writer ended");
        let standing = duty.standing(s(101));
        assert_eq!(standing.condition, Condition::Lost);
        assert!(standing.asks_for_restart());
    }

    #[test]
    fn a_duty_at_rest_is_never_late_and_counts_anew_afterwards() {
        let duty = duty();
        duty.rest();
        assert_eq!(duty.standing(s(9_000)).condition, Condition::Well);
        duty.expect(s(9_000));
        duty.expect(s(9_050));
        assert_eq!(duty.standing(s(9_060)).condition, Condition::Well);
        assert_eq!(duty.standing(s(9_061)).condition, Condition::Stuck);
        duty.rest();
        duty.failed(s(9_100), "away");
        assert_eq!(duty.standing(s(9_160)).condition, Condition::Well);
    }

    #[test]
    fn a_success_may_bring_its_own_deadline() {
        let duty = duty();
        duty.done_until(s(200), s(5));
        assert_eq!(duty.standing(s(205)).condition, Condition::Well);
        assert!(duty.standing(s(206)).condition.is_late());
    }

    #[test]
    fn an_error_is_cut_between_characters() {
        let duty = duty();
        duty.failed(s(101), format!("x{}", "é".repeat(MAX_ERROR_BYTES)));
        let error = duty.standing(s(101)).error.unwrap();
        assert_eq!(error.len(), MAX_ERROR_BYTES - 1);
    }
}
