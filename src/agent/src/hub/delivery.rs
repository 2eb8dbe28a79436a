//! Which bundle every open stream has been sent: the server activates a new
//! signing key only once the bundle that holds it has reached all of them.
//!
//! A stream belongs to a workload, and a workload may do with it what it likes: one that
//! takes nothing (a flow-control window of zero, a stopped process) is waited for
//! [`limits::STREAM_PATIENCE`] and then counts no more, so that no workload can hold the
//! rotation of the trust domain's keys up. After [`limits::STREAM_STUCK`] its connection
//! is ended; when the client comes back, the newest bundle is the first thing it is sent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use channel::uds::UnixPeer;
use duty::Duty;
use identity::Timestamp;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::limits;

/// How far the own bundle has come, as the server is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The lowest sequence among the streams that are waited for.
    pub(crate) lowest: u64,
    /// How many streams are not waited for any longer.
    pub(crate) behind: usize,
    /// Some of them: at most [`limits::STREAMS_NAMED`].
    pub(crate) named: Vec<Laggard>,
}

/// A stream that does not take what is there for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Laggard {
    /// The caller's user; `None` where no caller is known.
    pub(crate) uid: Option<u32>,
    /// The caller's process when it connected; 0 is not visible.
    pub(crate) pid: i32,
    /// The sequence it was sent last.
    pub(crate) sequence: u64,
    /// Since when there is a newer one.
    pub(crate) since: Timestamp,
}

/// Counts open streams by the sequence of the bundle they were sent last.
#[derive(Debug)]
pub(crate) struct Deliveries {
    counts: Mutex<Counts>,
    progress: watch::Sender<Progress>,
    /// A newer bundle is there, so streams may be behind.
    news: Notify,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Counts {
    /// By the sequence sent last, then by a number of their own.
    streams: BTreeMap<(u64, u64), Stream>,
    next: u64,
    /// The sequence the agent holds: what counts when no stream is open.
    held: u64,
    /// When newer sequences came, as far as a stream lacks them: one for each second.
    came: BTreeMap<u64, Came>,
}

#[derive(Clone, Copy, Debug)]
struct Came {
    boot: Duration,
    wall: Timestamp,
}

#[derive(Clone, Debug)]
struct Stream {
    peer: Option<Arc<UnixPeer>>,
    ended: Arc<AtomicBool>,
}

/// One open stream's mark. It no longer counts once dropped.
#[derive(Debug)]
pub(crate) struct Delivered {
    deliveries: Arc<Deliveries>,
    key: (u64, u64),
}

impl Deliveries {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            counts: Mutex::default(),
            progress: watch::Sender::default(),
            news: Notify::new(),
            clock,
        })
    }

    /// Follows what every stream has been sent.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The agent now holds a bundle of this sequence.
    pub(crate) fn hold(&self, sequence: u64) {
        let came = Came {
            boot: self.clock.boottime(),
            wall: self.clock.now(),
        };
        self.change(|counts| {
            if sequence > counts.held {
                counts.note_arrival(sequence, came);
            }
            counts.held = sequence;
        });
        self.news.notify_one();
    }

    /// A stream was sent its first answer, with the bundle of this sequence.
    pub(crate) fn begin(self: &Arc<Self>, sequence: u64, peer: Option<Arc<UnixPeer>>) -> Delivered {
        let mut key = (sequence, 0);
        self.change(|counts| {
            key.1 = counts.next;
            counts.next += 1;
            let ended = Arc::default();
            counts.streams.insert(key, Stream { peer, ended });
            if sequence < counts.held {
                self.news.notify_one();
            }
        });
        Delivered {
            deliveries: Arc::clone(self),
            key,
        }
    }

    /// How many streams are open.
    pub(crate) fn open(&self) -> usize {
        self.lock().streams.len()
    }

    /// Looks at the clock whenever a stream is behind, for as long as the agent runs.
    pub(crate) async fn watch(&self, duty: &Duty) {
        loop {
            let is_any_behind = self.look();
            duty.done(self.clock.boottime());
            if is_any_behind {
                tokio::time::sleep(limits::STREAM_LOOK).await;
            } else {
                duty.rest();
                self.news.notified().await;
            }
        }
    }

    /// Counts streams out that have been behind for too long, and ends their connections
    /// when they stay so. Says whether any is behind.
    fn look(&self) -> bool {
        self.change(|_| {});
        let counts = self.lock();
        let stuck = counts.overdue(self.clock.boottime(), limits::STREAM_STUCK);
        for ((sequence, _), stream) in counts.streams.range(..(stuck, 0)) {
            let Some(peer) = &stream.peer else { continue };
            if !stream.ended.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    pid = peer.pid(),
                    uid = peer.uid(),
                    bundle = sequence,
                    "a workload takes nothing from its stream; its connection is ended"
                );
                peer.end_connection();
            }
        }
        let first = counts.streams.first_key_value();
        first.is_some_and(|((sequence, _), _)| *sequence < counts.held)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, edit: impl FnOnce(&mut Counts)) {
        let now = self.clock.boottime();
        let mut counts = self.lock();
        edit(&mut counts);
        counts.forget_arrivals();
        let progress = counts.progress(now);
        self.progress.send_if_modified(|shown| {
            let changed = *shown != progress;
            *shown = progress;
            changed
        });
    }
}

impl Counts {
    /// Arrivals within one second count as one, so that this stays small however often
    /// bundles come: streams that lack them are ended after some seconds.
    fn note_arrival(&mut self, sequence: u64, came: Came) {
        if let Some(last) = self.came.last_entry()
            && came.boot.saturating_sub(last.get().boot) < Duration::from_secs(1)
        {
            let first = last.remove();
            self.came.insert(sequence, first);
        } else {
            self.came.insert(sequence, came);
        }
    }

    /// The newest arrival is kept in any case: a stream that was just looking at the view
    /// before it may still begin with that.
    fn forget_arrivals(&mut self) {
        let lowest = self
            .streams
            .first_key_value()
            .map(|((lowest, _), _)| *lowest);
        let newer = lowest.map_or(self.held, |lowest| lowest.saturating_add(1));
        let newest = self.came.last_key_value().map(|(newest, _)| *newest);
        let from = newest.map_or(newer, |newest| newer.min(newest));
        self.came = self.came.split_off(&from);
    }

    /// Streams that were sent less than this have been behind for `patience` or longer.
    fn overdue(&self, now: Duration, patience: Duration) -> u64 {
        let mut late = self.came.iter().rev();
        late.find(|(_, came)| now.saturating_sub(came.boot) >= patience)
            .map_or(0, |(sequence, _)| *sequence)
    }

    fn progress(&self, now: Duration) -> Progress {
        let overdue = self.overdue(now, limits::STREAM_PATIENCE);
        let mut waited_for = self.streams.range((overdue, 0)..);
        let lowest = waited_for.next().map(|((sequence, _), _)| *sequence);
        let behind = || self.streams.range(..(overdue, 0));
        let named = behind().take(limits::STREAMS_NAMED);
        Progress {
            lowest: lowest.map_or(self.held, |lowest| lowest.min(self.held)),
            behind: behind().count(),
            named: named.filter_map(|(key, s)| self.named(key.0, s)).collect(),
        }
    }

    fn named(&self, sequence: u64, stream: &Stream) -> Option<Laggard> {
        let (_, came) = self.came.range(sequence.saturating_add(1)..).next()?;
        let peer = stream.peer.as_deref();
        Some(Laggard {
            uid: peer.map(UnixPeer::uid),
            pid: peer.map_or(0, UnixPeer::pid),
            sequence,
            since: came.wall,
        })
    }
}

impl Delivered {
    /// The stream was sent the bundle of this sequence.
    pub(crate) fn advance(&mut self, sequence: u64) {
        if sequence != self.key.0 {
            let key = (sequence, self.key.1);
            self.deliveries.change(|counts| {
                if let Some(stream) = counts.streams.remove(&self.key) {
                    counts.streams.insert(key, stream);
                }
            });
            self.key = key;
        }
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        self.deliveries.change(|counts| {
            counts.streams.remove(&self.key);
        });
    }
}

#[cfg(test)]
mod tests {
    use identity::{Seconds, Timestamp};

    use super::Deliveries;
    use crate::clock::Clock;
    use crate::limits;

    #[test]
    fn the_slowest_stream_decides() {
        let deliveries = Deliveries::new(Clock::manual(Timestamp(1000)));
        let progress = deliveries.progress();
        deliveries.hold(1);
        let lowest = || progress.borrow().lowest;
        assert_eq!(lowest(), 1, "no stream: what is held is delivered");
        let mut first = deliveries.begin(1, None);
        let second = deliveries.begin(1, None);
        deliveries.hold(2);
        first.advance(2);
        assert_eq!(lowest(), 1);
        drop(second);
        assert_eq!(lowest(), 2);
        drop(first);
        assert_eq!(lowest(), 2);
    }

    #[test]
    fn a1_a_stream_that_takes_nothing_counts_for_some_seconds_only() {
        let clock = Clock::manual(Timestamp(1000));
        let deliveries = Deliveries::new(clock.clone());
        let progress = deliveries.progress();
        deliveries.hold(1);
        let mut honest = deliveries.begin(1, None);
        let mut stuck = deliveries.begin(1, None);
        assert!(!deliveries.look(), "nobody is behind");
        deliveries.hold(2);
        honest.advance(2);
        let patience = u32::try_from(limits::STREAM_PATIENCE.as_secs()).unwrap();
        clock.advance(Seconds(patience - 1));
        assert!(deliveries.look());
        assert_eq!(progress.borrow().lowest, 1, "a slow reader is waited for");
        clock.advance(Seconds(1));
        assert!(deliveries.look());
        let seen = progress.borrow().clone();
        assert_eq!((seen.lowest, seen.behind), (2, 1));
        assert_eq!(seen.named[0].since, Timestamp(1000));
        // A newer bundle is waited for anew with those that keep up, not with the stuck one.
        deliveries.hold(3);
        assert_eq!(progress.borrow().lowest, 2);
        honest.advance(3);
        assert_eq!(progress.borrow().lowest, 3);
        // When it takes its message after all, it is like any other.
        stuck.advance(3);
        assert_eq!(progress.borrow().behind, 0);
        assert!(!deliveries.look());
    }

    #[test]
    fn a1_a_stream_that_begins_with_an_older_bundle_is_behind_like_others() {
        let clock = Clock::manual(Timestamp(1000));
        let deliveries = Deliveries::new(clock.clone());
        deliveries.hold(1);
        deliveries.hold(2);
        let _stuck = deliveries.begin(1, None);
        assert_eq!(deliveries.progress().borrow().lowest, 1);
        clock.advance(Seconds(60));
        assert!(deliveries.look());
        assert_eq!(deliveries.progress().borrow().lowest, 2);
    }

    #[test]
    fn bundles_that_come_all_the_time_cost_no_memory_and_win_a_stuck_stream_no_time() {
        let clock = Clock::manual(Timestamp(1000));
        let deliveries = Deliveries::new(clock.clone());
        let _stuck = deliveries.begin(0, None);
        for sequence in 1..=10_000 {
            deliveries.hold(sequence);
            if sequence % 1000 == 0 {
                clock.advance(Seconds(1));
            }
        }
        assert!(deliveries.lock().came.len() <= 11);
        deliveries.look();
        let lowest = deliveries.progress().borrow().lowest;
        assert_eq!(lowest, 10_000);
    }
}
