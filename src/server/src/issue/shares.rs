//! Each agent's share of signatures: a burst, then a rate. What is refused here leaves
//! no record, since a record for each would cost as much as what is refused.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use identity::SpiffeId;

use crate::budgets::{Budgets, Meter, Principal, Reading};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

/// Signatures taken, by agent.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    taken: Mutex<Taken>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Taken {
    by_agent: HashMap<SpiffeId, Share>,
    /// When those that are whole again were last forgotten.
    swept_at: Duration,
}

/// One agent's share. It fills with time and is read off when it is used.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Taken and not filled again, in thousandths of a signature.
    taken: u64,
    at: Duration,
}

const BURST: u64 = limits::SIGNATURE_BURST as u64 * 1_000;
/// Thousandths of a signature each millisecond.
const RATE: u64 = limits::SIGNATURES_A_SECOND as u64;
const SWEEP: Duration = Duration::from_secs(10);

impl Share {
    fn taken_at(self, now: Duration) -> u64 {
        let passed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        self.taken.saturating_sub(passed.saturating_mul(RATE))
    }
}

impl Shares {
    /// Nothing taken; what there may be is a row of the budget table.
    pub(crate) fn new(budgets: &Budgets) -> Arc<Self> {
        let shares = Arc::new(Self::default());
        let read = Arc::downgrade(&shares);
        budgets.register(Meter {
            principal: Principal::Node,
            resource: "signatures",
            bound: u64::from(limits::SIGNATURE_BURST),
            read: Box::new(move || {
                read.upgrade()
                    .map_or_else(Reading::default, |s| s.reading())
            }),
        });
        shares
    }

    /// Takes so many signatures for an agent. A batch is let through while anything is
    /// left of the share, and paid for afterwards.
    ///
    /// # Errors
    /// [`Kind::Exhausted`]: the agent's share is spent, or too many agents are counted.
    pub(crate) fn take(&self, caller: &Caller, count: u32, now: Duration) -> Result<(), Failure> {
        let Caller::Spiffe(id) = caller else {
            return Ok(());
        };
        let mut taken = self.lock();
        taken.sweep(now);
        let share = taken.by_agent.get(id);
        let before = share.map_or(0, |share| share.taken_at(now));
        let is_new = share.is_none();
        if before >= BURST || (is_new && taken.by_agent.len() >= limits::MAX_SIGNATURE_COUNTS) {
            drop(taken);
            self.refused.fetch_add(1, Ordering::Relaxed);
            let wait = (before.saturating_sub(BURST) / RATE).saturating_add(1);
            return Err(Failure::new(
                Kind::Exhausted,
                format!(
                    "this agent may have {} signatures a second; try again in {wait} ms",
                    limits::SIGNATURES_A_SECOND
                ),
            ));
        }
        let share = Share {
            taken: before.saturating_add(u64::from(count) * 1_000),
            at: now,
        };
        taken.by_agent.insert(id.clone(), share);
        Ok(())
    }

    fn reading(&self) -> Reading {
        let taken = self.lock();
        let now = taken
            .by_agent
            .values()
            .map(|share| share.at)
            .max()
            .unwrap_or_default();
        let mut used = 0;
        let mut at_bound = Vec::new();
        for (id, share) in &taken.by_agent {
            let count = share.taken_at(now) / 1_000;
            used = used.max(count);
            if count >= u64::from(limits::SIGNATURE_BURST) {
                at_bound.push(id.to_string());
            }
        }
        at_bound.sort();
        at_bound.truncate(Reading::NAMED);
        Reading {
            used,
            at_bound,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Forgets shares that are whole again.
    fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept_at) < SWEEP {
            return;
        }
        self.swept_at = now;
        self.by_agent.retain(|_, share| share.taken_at(now) > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> Caller {
        Caller::Spiffe(
            SpiffeId::parse(&format!("spiffe://example.org/spire/agent/{name}")).unwrap(),
        )
    }

    #[test]
    fn s17_one_agent_spends_its_own_share_of_signatures() {
        let budgets = Budgets::default();
        let shares = Shares::new(&budgets);
        let at = Duration::from_secs;
        shares
            .take(&agent("a"), limits::SIGNATURE_BURST - 1, at(100))
            .unwrap();
        shares.take(&agent("a"), 500, at(100)).unwrap();
        let refused = shares.take(&agent("a"), 1, at(100)).unwrap_err();
        assert_eq!(refused.kind(), Kind::Exhausted);
        assert!(
            refused.message().contains("try again in 100 ms"),
            "{refused}"
        );
        shares.take(&agent("b"), 500, at(100)).unwrap();
        shares.take(&Caller::Server, u32::MAX, at(100)).unwrap();
        let row = budgets.table().remove(0);
        assert_eq!(row.reading.at_bound, ["spiffe://example.org/spire/agent/a"]);
        assert_eq!(row.reading.refused, 1);
        // A second later more are there, 499 of which are owed.
        let more = limits::SIGNATURES_A_SECOND - 499;
        shares.take(&agent("a"), more, at(101)).unwrap();
        assert!(shares.take(&agent("a"), 1, at(101)).is_err());
    }

    #[test]
    fn whole_shares_are_forgotten() {
        let shares = Shares::new(&Budgets::default());
        shares.take(&agent("a"), 1, Duration::from_secs(1)).unwrap();
        shares
            .take(&agent("b"), 1, Duration::from_secs(60))
            .unwrap();
        assert_eq!(shares.lock().by_agent.len(), 1);
    }
}
