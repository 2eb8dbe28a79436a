//! How much of its share of the decision log each caller has taken, for the budget table.

use super::Audit;
use super::budget::{Source, share};
use crate::budgets::Reading;

impl Audit {
    /// The most bytes that one peer, or one of its entries, may cause at once.
    pub(crate) fn recorded_bound(&self, of_entries: bool) -> u64 {
        let shares = self.0.budget.shares;
        if of_entries {
            shares.entry.burst
        } else {
            shares.peer.burst
        }
    }

    /// How many bytes of that the one that caused most has not won back, and who has
    /// nothing left.
    pub(crate) fn recorded(&self, of_entries: bool) -> Reading {
        let now = self.0.clock.since_boot();
        let (budget, bound) = (&self.0.budget, self.recorded_bound(of_entries));
        let mut reading = Reading::default();
        for (source, account) in &budget.accounts().of {
            let counts = match source {
                Source::Entry(..) => of_entries,
                Source::Peer(_) => !of_entries,
                Source::Address(_) | Source::Others => false,
            };
            if !counts {
                continue;
            }
            let mut bytes = account.bytes;
            bytes.refill(share(source, budget.shares), now);
            let taken = bound.saturating_sub(bytes.left / 1000);
            reading.used = reading.used.max(taken);
            if !bytes.has(1) && reading.at_bound.len() < Reading::NAMED {
                reading.at_bound.push(source.to_string());
            }
        }
        reading.at_bound.sort();
        reading
    }
}
