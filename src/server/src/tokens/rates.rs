//! How often: the buckets of `@rate`, the count of the last five minutes that
//! policies see, and the guard against floods. Pure: the time is an argument.
//! What has been idle long enough to be full again is forgotten; while there is no room
//! for more counts, what would need one is refused.

use std::collections::{HashMap, VecDeque};

use identity::{EntryId, SpiffeId, Timestamp};
use policy::Rate;

use crate::limits;

/// What policies see as `mints5m`.
const WINDOW: i64 = 300;
/// Counts of the window are kept in steps of so many seconds.
const STEP: i64 = 10;
/// What is idle is forgotten every so many seconds.
const SWEEP: u32 = 60;

/// All counts.
#[derive(Debug)]
pub(super) struct Rates {
    by_use: HashMap<(EntryId, Box<str>), Use>,
    by_asker: HashMap<Asker, (Timestamp, u32)>,
    swept_at: i64,
    /// The most counts of either sort.
    most: usize,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// Those for an entry, by agents that are authorised for it.
    Entry(EntryId),
    /// Those of an agent for entries that are not its own: nobody else's count.
    Stranger(SpiffeId),
}

/// Whether somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MayAsk {
    Yes,
    /// No more in this second; the first to be told so in it.
    NoMore,
    /// As the one before.
    StillNoMore,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            by_use: HashMap::new(),
            by_asker: HashMap::new(),
            swept_at: 0,
            most: limits::MAX_RATE_COUNTS,
        }
    }
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
    /// Whether one more request may be decided in this second.
    pub(super) fn may_ask(&mut self, asker: &Asker, now: Timestamp, most: u32) -> MayAsk {
        self.sweep(now);
        if !self.by_asker.contains_key(asker) {
            if self.by_asker.len() >= self.most {
                self.by_asker.retain(|_, (at, _)| *at == now);
            }
            if self.by_asker.len() >= self.most {
                return MayAsk::StillNoMore;
            }
        }
        let second = self.by_asker.entry(asker.clone()).or_insert((now, 0));
        if second.0 != now {
            *second = (now, 0);
        }
        second.1 = second.1.saturating_add(1);
        match second.1.checked_sub(most) {
            None | Some(0) => MayAsk::Yes,
            Some(1) => MayAsk::NoMore,
            Some(_) => MayAsk::StillNoMore,
        }
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
        let key = (entry.clone(), audience.into());
        if self.by_use.len() >= self.most && !self.by_use.contains_key(&key) {
            return Err(SWEEP);
        }
        let used = self.by_use.entry(key).or_default();
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
        if now.0 < self.swept_at.saturating_add(SWEEP.into()) && now.0 >= self.swept_at {
            return;
        }
        self.swept_at = now.0;
        self.by_asker.retain(|_, (at, _)| at.0 >= now.0 - 1);
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

    fn asker(name: &str) -> Asker {
        Asker::Entry(entry(name))
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
        assert_eq!(rates.may_ask(&asker("x"), Timestamp(2_000), 1), MayAsk::Yes);
        assert!(rates.by_use.is_empty(), "what is idle takes no memory");
    }

    #[test]
    fn a_flood_of_one_entry_is_held_back() {
        let mut rates = Rates::default();
        let mut asks = |name, at| rates.may_ask(&asker(name), Timestamp(at), 2);
        assert_eq!(
            [asks("e", 5), asks("e", 5), asks("e", 5), asks("e", 5)],
            [
                MayAsk::Yes,
                MayAsk::Yes,
                MayAsk::NoMore,
                MayAsk::StillNoMore
            ]
        );
        assert_eq!([asks("f", 5), asks("e", 6)], [MayAsk::Yes; 2]);
    }

    #[test]
    fn counts_take_bounded_memory_and_what_finds_no_room_is_refused() {
        let mut rates = Rates {
            most: 2,
            ..Rates::default()
        };
        let mut asks = |name, at| rates.may_ask(&asker(name), Timestamp(at), 9);
        assert_eq!([asks("a", 5), asks("b", 5)], [MayAsk::Yes; 2]);
        assert_eq!(asks("c", 5), MayAsk::StillNoMore);
        assert_eq!(asks("a", 5), MayAsk::Yes, "whoever has a count goes on");
        assert_eq!(asks("c", 6), MayAsk::Yes, "the next second has room");
        let mut take = |name, at| rates.take(&entry(name), "x", None, Timestamp(at));
        assert_eq!([take("a", 6), take("b", 6)], [Ok(()); 2]);
        assert_eq!([take("c", 6), take("a", 6)], [Err(SWEEP), Ok(())]);
    }
}
