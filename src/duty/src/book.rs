//! All duties of one process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Duty, Standing, Weight};

/// The duties of one process, in the order in which they were added. Cheap to clone;
/// clones share the same duties.
#[derive(Debug, Clone, Default)]
pub struct Duties(Arc<Mutex<Vec<Duty>>>);

impl Duties {
    /// Adds a duty that is due for the first time `within` from `now`, and as long after
    /// each success.
    ///
    /// A vital duty is to be tried more often than that: one whose last try is older
    /// than its deadline counts as stuck.
    #[must_use]
    pub fn add(&self, name: &'static str, within: Duration, weight: Weight, now: Duration) -> Duty {
        let duty = Duty::new(name, within, weight, now);
        let mut duties = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        duties.push(duty.clone());
        duty
    }

    /// How every duty stands at `now`.
    #[must_use]
    pub fn standings(&self, now: Duration) -> Vec<Standing> {
        let duties = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        duties.iter().map(|duty| duty.standing(now)).collect()
    }

    /// Those that are late at `now`.
    #[must_use]
    pub fn late(&self, now: Duration) -> Vec<Standing> {
        let mut standings = self.standings(now);
        standings.retain(|standing| standing.condition.is_late());
        standings
    }

    /// Whether nothing that is vital or needed is late at `now`.
    #[must_use]
    pub fn is_ready(&self, now: Duration) -> bool {
        !self.standings(now).iter().any(Standing::is_in_the_way)
    }

    /// Counts every duty as tried at `now`, because until now nobody could: the machine
    /// slept, or the process did not get to run. What is late stays late; it is only not
    /// stuck.
    pub fn excuse(&self, now: Duration) {
        let duties = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for duty in duties.iter() {
            duty.excuse(now);
        }
    }

    /// A vital duty that is stuck or lost at `now`: the process must be started again,
    /// and the watchdog is not to be fed.
    #[must_use]
    pub fn asks_for_restart(&self, now: Duration) -> Option<Standing> {
        let mut standings = self.standings(now).into_iter();
        standings.find(Standing::asks_for_restart)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Condition;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_lateness_means_follows_from_the_weight() {
        let duties = Duties::default();
        let _pruning = duties.add("pruning", s(10), Weight::Background, s(0));
        assert!(duties.is_ready(s(11)));
        assert_eq!(duties.late(s(11)).len(), 1);
        let list = duties.add("list", s(10), Weight::Needed, s(20));
        assert!(!duties.is_ready(s(31)));
        assert_eq!(duties.asks_for_restart(s(31)), None);
        list.done(s(31));
        assert!(duties.is_ready(s(31)));
        let rotation = duties.add("rotation", s(10), Weight::Vital, s(31));
        rotation.failed(s(40), "away");
        assert!(!duties.is_ready(s(42)));
        assert_eq!(
            duties.asks_for_restart(s(42)),
            None,
            "a new start would not help"
        );
        let stuck = duties.asks_for_restart(s(51)).unwrap();
        assert_eq!(
            (stuck.name.as_str(), stuck.condition),
            ("rotation", Condition::Stuck)
        );
    }

    #[test]
    fn who_could_not_try_is_late_and_not_stuck() {
        let duties = Duties::default();
        let _rotation = duties.add("rotation", s(10), Weight::Vital, s(0));
        duties.excuse(s(500));
        assert_eq!(duties.late(s(500))[0].condition, Condition::Failing);
        assert_eq!(duties.asks_for_restart(s(510)), None);
        assert!(duties.asks_for_restart(s(511)).is_some());
    }

    #[test]
    fn a_standing_survives_json() {
        let duties = Duties::default();
        duties
            .add("rotation", s(10), Weight::Vital, s(0))
            .lost("gone");
        let standing = duties.standings(s(1)).remove(0);
        let text = serde_json::to_string(&standing).unwrap();
        assert!(text.contains(r#""condition":"lost""#), "{text}");
        assert_eq!(serde_json::from_str::<Standing>(&text).unwrap(), standing);
    }

    #[derive(Debug, Clone)]
    enum Did {
        Done,
        Failed,
    }

    proptest! {
        /// Said naively: late is whatever has no success within the deadline.
        #[test]
        fn late_is_what_has_no_success_within_the_deadline(
            reports in proptest::collection::vec((0u64..20, prop_oneof![Just(Did::Done), Just(Did::Failed)]), 0..20),
            wait in 0u64..40,
        ) {
            let duties = Duties::default();
            let duty = duties.add("d", s(15), Weight::Needed, s(0));
            let (mut now, mut good) = (0, 0);
            for (passed, did) in reports {
                now += passed;
                match did {
                    Did::Done => {
                        duty.done(s(now));
                        good = now;
                    }
                    Did::Failed => duty.failed(s(now), "no"),
                }
            }
            now += wait;
            prop_assert_eq!(duties.is_ready(s(now)), now - good <= 15);
        }
    }
}
