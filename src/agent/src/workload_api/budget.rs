//! How many new tokens may be asked of the server in a workload's name. Each is a
//! durable record in the server's journal, so a workload that asks for another list
//! of audiences each time must not be able to ask without end. A token that is
//! already held, and its renewal, cost nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use identity::EntryId;
use tonic::Status;

use super::bucket::{Bucket, Rate};
use crate::Limits;

/// Principals remembered beyond those whose budget is not full.
const REMEMBERED: usize = 4096;
/// As many bytes of what is asked for cost as much as one more token.
const BYTES_PER_TOKEN: usize = 256;

/// Who pays for a new token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    /// The user that calls.
    User(u32),
    /// The entry, where a delegate asks in the name of many workloads.
    Entry(EntryId),
}

/// The budgets of all principals.
#[derive(Debug)]
pub(crate) struct NewTokens {
    rate: Rate,
    buckets: Mutex<HashMap<Payer, Bucket>>,
}

impl NewTokens {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_minute: f64 = limits.new_tokens_per_minute_per_uid.into();
        Self {
            rate: Rate {
                per_second: per_minute / 60.0,
                burst: limits.new_token_burst_per_uid.into(),
            },
            buckets: Mutex::default(),
        }
    }

    /// Pays for one new token that is asked for with so many bytes.
    ///
    /// # Errors
    /// `ResourceExhausted`: the principal has asked for too many.
    pub(crate) fn pay(&self, payer: Payer, bytes: usize, now: Duration) -> Result<(), Status> {
        let more = u32::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX);
        let cost = 1.0 + f64::from(more);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&payer) {
            buckets.retain(|_, bucket| !bucket.is_full(self.rate, now));
        }
        let bucket = buckets.entry(payer);
        let bucket = bucket.or_insert_with(|| Bucket::full(self.rate, now));
        if bucket.take(cost, self.rate, now) {
            return Ok(());
        }
        Err(Status::resource_exhausted(
            "this user asks for new tokens too fast; reuse the tokens it has (the same audiences in \
             the same order), or have an admin raise limits.new_tokens_per_minute_per_uid",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(100);

    fn budget() -> NewTokens {
        NewTokens::new(&Limits {
            new_tokens_per_minute_per_uid: 60,
            new_token_burst_per_uid: 10,
            ..Limits::default()
        })
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_nobody_else_pays() {
        let budget = budget();
        let pay = |uid, now| budget.pay(Payer::User(uid), 10, now);
        for _ in 0..10 {
            pay(7, T0).unwrap();
        }
        let refused = pay(7, T0).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(pay(8, T0).is_ok());
        let later = T0 + Duration::from_secs(2);
        assert!(pay(7, later).is_ok() && pay(7, later).is_ok());
        assert!(pay(7, later).is_err());
    }

    #[test]
    fn long_audiences_cost_more_and_none_costs_more_than_there_can_be() {
        let budget = budget();
        let pay = |uid, bytes| budget.pay(Payer::User(uid), bytes, T0);
        assert!(pay(7, 8 * BYTES_PER_TOKEN).is_ok());
        assert!(pay(7, 8 * BYTES_PER_TOKEN).is_err());
        assert!(pay(8, 1_000 * BYTES_PER_TOKEN).is_ok());
        assert!(pay(8, 1).is_err());
    }

    #[test]
    fn many_principals_do_not_fill_the_memory() {
        let budget = budget();
        for n in 0..20_000_u32 {
            let now = T0 + Duration::from_secs(n.into());
            budget.pay(Payer::User(n), 1, now).unwrap();
        }
        assert!(budget.buckets.lock().unwrap().len() <= REMEMBERED + 1);
    }
}
