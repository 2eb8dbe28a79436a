//! What works and what does not, with reasons, for `/ready`, the health check
//! and the operator. It tells the truth: an agent that serves old SVIDs while
//! its server is away is ready, and says that the server is away.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use identity::Timestamp;

/// A part of the agent that can have a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The agent's own SVID, as the server sees it.
    Identity,
    /// Renewing it.
    Renewal,
    /// The stream that entries and bundles come over.
    Sync,
    /// What came over it.
    Contents,
    /// Issuing workload SVIDs.
    Issuance,
    /// The data folder.
    Storage,
    /// What is known to be revoked.
    Revocations,
}

impl Part {
    /// The name in answers and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Renewal => "renewal",
            Self::Sync => "sync",
            Self::Contents => "contents",
            Self::Issuance => "issuance",
            Self::Storage => "storage",
            Self::Revocations => "revocations",
        }
    }
}

/// A problem that has not ended yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
}

/// The problems there are.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<BTreeMap<Part, Problem>>);

impl Health {
    /// `part` has a problem. Returns whether that is news, so that the log tells
    /// of each change once.
    pub(crate) fn problem(&self, part: Part, now: Timestamp, reason: String) -> bool {
        let mut problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = problems.get_mut(&part) {
            let news = known.reason != reason;
            known.reason = reason;
            return news;
        }
        problems.insert(part, Problem { since: now, reason });
        true
    }

    /// `part` works. Returns whether that is news.
    pub(crate) fn works(&self, part: Part) -> bool {
        let mut problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        problems.remove(&part).is_some()
    }

    /// All problems.
    pub(crate) fn problems(&self) -> Vec<(Part, Problem)> {
        let problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        problems
            .iter()
            .map(|(part, p)| (*part, p.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_news_once() {
        let health = Health::default();
        let at = Timestamp(5);
        assert!(health.problem(Part::Sync, at, "away".into()));
        assert!(!health.problem(Part::Sync, Timestamp(9), "away".into()));
        assert!(health.problem(Part::Sync, Timestamp(9), "refused".into()));
        assert_eq!(
            health.problems()[0].1.since,
            at,
            "it began with the first reason"
        );
        assert!(health.works(Part::Sync));
        assert!(!health.works(Part::Sync));
        assert!(health.problems().is_empty());
    }
}
