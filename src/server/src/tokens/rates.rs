//! How often: the buckets of `@rate`, the count of the last five minutes that
//! policies see, and the guard against floods. Pure: the time is an argument.
//! What has been idle long enough to be full again is forgotten.

use std::collections::{HashMap, VecDeque};

use identity::{EntryId, Timestamp};
use policy::Rate;

/// What policies see as `mints5m`.
const WINDOW: i64 = 300;
/// Counts of the window are kept in steps of so many seconds.
const STEP: i64 = 10;

/// All counts, by entry and audience.
#[derive(Debug, Default)]
pub(super) struct Rates {
    by_use: HashMap<(EntryId, Box<str>), Use>,
    by_entry: HashMap<EntryId, (Timestamp, u32)>,
    swept_at: i64,
}

#[derive(Debug, Default)]
struct Use {
    /// Mints by step, oldest first.
    steps: VecDeque<(i64, u32)>,
    /// When the next mint is due if they came evenly (a virtual clock), in
    /// thousandths of a second.
    due_ms: i64,
}

impl Rates {
    /// Whether an entry may ask once more in this second.
    pub(super) fn may_ask(&mut self, entry: &EntryId, now: Timestamp, most: u32) -> bool {
        self.sweep(now);
        let second = self.by_entry.entry(entry.clone()).or_insert((now, 0));
        if second.0 != now {
            *second = (now, 0);
        }
        second.1 = second.1.saturating_add(1);
        second.1 <= most
    }

    /// Mints of an entry for an audience in the last five minutes.
    pub(super) fn mints_5m(&self, entry: &EntryId, audience: &str, now: Timestamp) -> u32 {
        let used = self.by_use.get(&(entry.clone(), audience.into()));
        let steps = used.into_iter().flat_map(|used| &used.steps);
        let recent = steps.filter(|(step, _)| *step > now.0 - WINDOW);
        recent.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Takes one mint, or says how many seconds to wait for the rate's next.
    pub(super) fn take(
        &mut self,
        entry: &EntryId,
        audience: &str,
        rate: Option<Rate>,
        now: Timestamp,
    ) -> Result<(), u32> {
        let used = self
            .by_use
            .entry((entry.clone(), audience.into()))
            .or_default();
        if let Some(rate) = rate {
            let now_ms = now.0.saturating_mul(1_000);
            let span_ms = i64::from(rate.per.0) * 1_000;
            let each_ms = span_ms / i64::from(rate.count.max(1));
            let due = used.due_ms.max(now_ms);
            // A full bucket holds `count`: the virtual clock may run one span ahead.
            let ahead = due + each_ms - now_ms;
            if ahead > span_ms {
                let wait = (ahead - span_ms).div_euclid(1_000) + 1;
                return Err(u32::try_from(wait).unwrap_or(u32::MAX));
            }
            used.due_ms = due + each_ms;
        }
        let step = now.0.div_euclid(STEP) * STEP + STEP;
        match used.steps.back_mut() {
            Some((last, count)) if *last == step => *count = count.saturating_add(1),
            _ => used.steps.push_back((step, 1)),
        }
        while used
            .steps
            .front()
            .is_some_and(|(step, _)| *step <= now.0 - WINDOW)
        {
            used.steps.pop_front();
        }
        Ok(())
    }

    /// Forgets what no longer counts, once a minute.
    fn sweep(&mut self, now: Timestamp) {
        if now.0 < self.swept_at.saturating_add(60) && now.0 >= self.swept_at {
            return;
        }
        self.swept_at = now.0;
        self.by_entry.retain(|_, (at, _)| at.0 >= now.0 - 1);
        self.by_use.retain(|_, used| {
            let counted = used
                .steps
                .back()
                .is_some_and(|(step, _)| *step > now.0 - WINDOW);
            counted || used.due_ms > now.0.saturating_mul(1_000)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> EntryId {
        EntryId::parse(name).unwrap()
    }

    #[test]
    fn a_rate_lets_a_burst_through_and_then_one_at_a_time() {
        let mut rates = Rates::default();
        let rate = Rate::parse("3/30s");
        let mut take = |at| rates.take(&entry("e"), "a", rate, Timestamp(at));
        assert_eq!([take(100), take(100), take(100)], [Ok(()); 3]);
        assert_eq!(
            take(100),
            Err(11),
            "the fourth waits for a tenth of the span"
        );
        assert_eq!(take(109), Err(2));
        assert_eq!([take(110), take(120)], [Ok(()); 2]);
        assert!(take(121).is_err());
        // Others are not held up by it.
        assert_eq!(rates.take(&entry("e"), "b", rate, Timestamp(121)), Ok(()));
        assert_eq!(rates.take(&entry("f"), "a", rate, Timestamp(121)), Ok(()));
    }

    #[test]
    fn mints_count_for_five_minutes_and_are_forgotten_after() {
        let mut rates = Rates::default();
        for at in [1_000, 1_001, 1_150] {
            rates.take(&entry("e"), "a", None, Timestamp(at)).unwrap();
        }
        let count = |rates: &Rates, at| rates.mints_5m(&entry("e"), "a", Timestamp(at));
        assert_eq!(count(&rates, 1_150), 3);
        assert_eq!(count(&rates, 1_299), 3);
        assert_eq!(count(&rates, 1_310), 1);
        assert_eq!(count(&rates, 1_470), 0);
        assert!(rates.may_ask(&entry("x"), Timestamp(2_000), 1));
        assert!(rates.by_use.is_empty(), "what is idle takes no memory");
    }

    #[test]
    fn a_flood_of_one_entry_is_held_back() {
        let mut rates = Rates::default();
        let mut asks = |name, at| rates.may_ask(&entry(name), Timestamp(at), 2);
        assert_eq!(
            [asks("e", 5), asks("e", 5), asks("e", 5)],
            [true, true, false]
        );
        assert!(asks("f", 5) && asks("e", 6));
    }
}
