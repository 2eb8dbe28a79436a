//! What is known of the authority above, for people and for monitoring: a loss is
//! logged when it begins and when it ends, not at every look.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use authority::upstream::Granted;
use identity::Timestamp;

/// What people are told of the authority above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UpstreamState {
    /// What is wrong; empty when nothing is.
    pub(crate) problem: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// When its CA, or what is above that, ends, if it is known.
    pub(crate) ends: Option<Timestamp>,
    /// When it was last seen in order.
    pub(crate) seen: Timestamp,
}

#[derive(Default)]
struct Inner {
    look: Option<String>,
    sign: Option<String>,
    publish: Option<String>,
    shown: UpstreamState,
    given_kids: Option<BTreeSet<Box<str>>>,
}

/// Remembers and tells.
#[derive(Default)]
pub(super) struct Alarm(Mutex<Inner>);

impl Alarm {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> UpstreamState {
        self.lock().shown.clone()
    }

    /// It was looked at; `Ok` holds its end.
    pub(super) fn looked(&self, outcome: Result<Option<Timestamp>, String>, now: Timestamp) {
        let mut inner = self.lock();
        match outcome {
            Ok(ends) => {
                inner.shown.ends = ends;
                inner.shown.seen = now;
                inner.look = None;
            }
            Err(problem) => {
                inner.look = Some(problem);
                inner.given_kids = None;
            }
        }
        inner.tell(now);
    }

    /// The key ids that it publishes, before this server's own are left out.
    pub(super) fn note_kids(&self, kids: BTreeSet<Box<str>>) {
        self.lock().given_kids = Some(kids);
    }

    pub(super) fn given_kids(&self) -> Option<BTreeSet<Box<str>>> {
        self.lock().given_kids.clone()
    }

    /// It was asked for an intermediate.
    pub(super) fn signed(&self, outcome: &Result<Granted, String>, now: Timestamp) {
        let mut inner = self.lock();
        inner.sign = outcome.as_ref().err().cloned();
        inner.tell(now);
    }

    /// It was asked to publish a key.
    pub(super) fn published(&self, outcome: &Result<(), String>, now: Timestamp) {
        let mut inner = self.lock();
        inner.publish = outcome.as_ref().err().cloned();
        inner.tell(now);
    }
}

impl Inner {
    fn tell(&mut self, now: Timestamp) {
        let problems = [&self.look, &self.sign, &self.publish];
        let problem = problems.into_iter().flatten().next();
        let problem = problem.cloned().unwrap_or_default();
        if problem == self.shown.problem {
            return;
        }
        let was_well = self.shown.problem.is_empty();
        if problem.is_empty() {
            tracing::info!("the upstream authority is in order again");
        } else {
            tracing::error!(
                problem,
                "the upstream authority cannot be used; issuing goes on until the intermediate ends"
            );
        }
        if was_well || problem.is_empty() {
            self.shown.since = now;
        }
        self.shown.problem = problem;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_dated_from_its_beginning_and_ends() {
        let alarm = Alarm::default();
        alarm.looked(Ok(Some(Timestamp(99))), Timestamp(1));
        assert_eq!(alarm.state().problem, "");
        alarm.looked(Err("away".into()), Timestamp(5));
        alarm.published(&Err("refused".into()), Timestamp(6));
        alarm.looked(Ok(None), Timestamp(7));
        let state = alarm.state();
        assert_eq!((state.problem.as_str(), state.since.0), ("refused", 5));
        alarm.published(&Ok(()), Timestamp(8));
        assert_eq!(alarm.state().problem, "");
        assert_eq!(alarm.state().since, Timestamp(8));
    }
}
