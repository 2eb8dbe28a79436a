//! Connections counted by who holds them: a bound on all of them, a share for each
//! holder, and an order in which they make room for others.
//!
//! No I/O and no clock: [`Crowd::enter`] decides at once, and a connection that has
//! to make room finds out through [`Place::evicted`].

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

/// What may happen to those who are in when one more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// The oldest of the largest holder makes room, whoever comes.
    OldestMakesRoom,
    /// It makes room only for a holder that would have fewer.
    LargerMakesRoom,
}

/// Connections of one kind.
#[derive(Debug)]
pub(super) struct Crowd<K> {
    most: usize,
    share: usize,
    turns: usize,
    when_full: WhenFull,
    held: Mutex<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    next: u64,
    count: usize,
    evicted: u64,
    refused: u64,
    holders: HashMap<K, Holder>,
}

#[derive(Debug)]
struct Holder {
    /// In the order of their arrival.
    seats: BTreeMap<u64, Arc<Seat>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Seat {
    /// Whether nothing is lost for us when this one ends: it waits for its peer.
    idle: AtomicBool,
    evicted: Notify,
}

/// One connection's place; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash + Clone> {
    crowd: Arc<Crowd<K>>,
    key: K,
    number: u64,
    seat: Arc<Seat>,
    turns: Arc<Semaphore>,
}

/// A crowd as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Connections open.
    pub total: usize,
    /// The most there may be.
    pub bound: usize,
    /// The most that one holder may have.
    pub share: usize,
    /// The most that any one holder has.
    pub largest: usize,
    /// Who has the whole share; at most [`Occupancy::NAMED`].
    pub at_share: Vec<String>,
    /// How many were closed so far to make room for another.
    pub evicted: u64,
    /// How many were closed so far because there was no room for them.
    pub refused: u64,
}

impl Occupancy {
    /// The most holders that are named.
    pub const NAMED: usize = 16;
}

impl<K: Eq + Hash + Clone + Ord> Crowd<K> {
    /// Room for `most` connections, of which one holder has `share` at most, and for
    /// `turns` at one time of each holder.
    pub(super) fn new(most: usize, share: usize, turns: usize, when_full: WhenFull) -> Arc<Self> {
        Arc::new(Self {
            most,
            share,
            turns: turns.clamp(1, Semaphore::MAX_PERMITS),
            when_full,
            held: Mutex::new(Held {
                next: 0,
                count: 0,
                evicted: 0,
                refused: 0,
                holders: HashMap::new(),
            }),
        })
    }

    /// A place for one more connection of `key`, if need be in the place of another;
    /// `None` when nobody can make room.
    pub(super) fn enter(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut held = self.lock();
        let own = held.holders.get(&key).map_or(0, |h| h.seats.len());
        let admitted = if own >= self.share {
            held.evict(&key)
        } else if held.count >= self.most {
            match held.greediest(own, self.when_full) {
                Some(greediest) => held.evict(&greediest),
                None => false,
            }
        } else {
            true
        };
        if !admitted {
            held.refused += 1;
            return None;
        }
        let number = held.next;
        held.next += 1;
        held.count += 1;
        let seat = Arc::new(Seat {
            idle: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        let holder = held.holders.entry(key.clone()).or_insert_with(|| Holder {
            seats: BTreeMap::new(),
            turns: Arc::new(Semaphore::new(self.turns)),
        });
        holder.seats.insert(number, Arc::clone(&seat));
        let turns = Arc::clone(&holder.turns);
        drop(held);
        Some(Place {
            crowd: Arc::clone(self),
            key,
            number,
            seat,
            turns,
        })
    }

    /// What there is now; `name` says who a holder is.
    pub(super) fn occupancy(&self, name: impl Fn(&K) -> String) -> Occupancy {
        let held = self.lock();
        let mut at_share: Vec<&K> = held
            .holders
            .iter()
            .filter(|(_, holder)| holder.seats.len() >= self.share)
            .map(|(key, _)| key)
            .collect();
        at_share.sort();
        Occupancy {
            total: held.count,
            bound: self.most,
            share: self.share,
            largest: held
                .holders
                .values()
                .map(|holder| holder.seats.len())
                .max()
                .unwrap_or_default(),
            at_share: at_share
                .into_iter()
                .take(Occupancy::NAMED)
                .map(name)
                .collect(),
            evicted: held.evicted,
            refused: held.refused,
        }
    }
}

impl<K> Crowd<K> {
    fn lock(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Held<K> {
    /// The holder of most connections among those that can lose one; of several the
    /// one whose connection is oldest.
    fn greediest(&self, newcomers: usize, when_full: WhenFull) -> Option<K> {
        let candidates = self.holders.iter().filter_map(|(key, holder)| {
            let count = holder.seats.len();
            let (oldest, _) = holder.oldest_idle()?;
            let yields = when_full == WhenFull::OldestMakesRoom || count > newcomers + 1;
            yields.then_some((count, std::cmp::Reverse(oldest), key))
        });
        let greediest = candidates.max_by_key(|(count, oldest, _)| (*count, *oldest));
        greediest.map(|(_, _, key)| key.clone())
    }

    /// Ends the oldest idle connection of a holder; false when it has none.
    fn evict(&mut self, key: &K) -> bool {
        let oldest = self.holders.get(key).and_then(Holder::oldest_idle);
        let Some((number, seat)) = oldest else {
            return false;
        };
        let seat = Arc::clone(seat);
        self.remove(key, number);
        self.evicted += 1;
        seat.evicted.notify_one();
        true
    }

    fn remove(&mut self, key: &K, number: u64) {
        let Some(holder) = self.holders.get_mut(key) else {
            return;
        };
        if holder.seats.remove(&number).is_some() {
            self.count = self.count.saturating_sub(1);
        }
        if holder.seats.is_empty() {
            self.holders.remove(key);
        }
    }
}

impl Holder {
    fn oldest_idle(&self) -> Option<(u64, &Arc<Seat>)> {
        let mut seats = self.seats.iter();
        let idle = seats.find(|(_, seat)| seat.idle.load(Ordering::Relaxed));
        idle.map(|(number, seat)| (*number, seat))
    }
}

impl<K: Eq + Hash + Clone> Place<K> {
    /// Says whether the connection waits for its peer, so that it may be evicted.
    pub(super) fn set_idle(&self, idle: bool) {
        self.seat.idle.store(idle, Ordering::Relaxed);
    }

    /// Completes when the connection has to make room for another.
    pub(super) async fn evicted(&self) {
        self.seat.evicted.notified().await;
    }

    /// The turns that all connections of this holder share.
    pub(super) fn turns(&self) -> &Semaphore {
        &self.turns
    }
}

impl<K: Eq + Hash + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        self.crowd.lock().remove(&self.key, self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn idle(crowd: &Arc<Crowd<u8>>, key: u8) -> Place<u8> {
        let place = crowd.enter(key).unwrap();
        place.set_idle(true);
        place
    }

    fn is_evicted(place: &Place<u8>) -> bool {
        place.evicted().now_or_never().is_some()
    }

    #[test]
    fn the_share_of_one_holder_is_taken_from_its_own_oldest() {
        let crowd = Crowd::new(10, 2, 1, WhenFull::OldestMakesRoom);
        let (first, second, other) = (idle(&crowd, 1), idle(&crowd, 1), idle(&crowd, 2));
        let third = idle(&crowd, 1);
        let evicted = [&first, &second, &third, &other].map(is_evicted);
        assert_eq!(evicted, [true, false, false, false]);
        drop(first);
        assert_eq!(crowd.occupancy(u8::to_string).total, 3);
    }

    #[test]
    fn a_full_crowd_takes_from_the_largest_holder() {
        let crowd = Crowd::new(4, 3, 1, WhenFull::OldestMakesRoom);
        let small = idle(&crowd, 1);
        let large = [idle(&crowd, 2), idle(&crowd, 2), idle(&crowd, 2)];
        let newcomer = idle(&crowd, 3);
        assert!(is_evicted(&large[0]));
        assert!(!is_evicted(&small) && !is_evicted(&newcomer));
    }

    #[test]
    fn who_is_being_served_keeps_its_place() {
        let crowd = Crowd::new(2, 2, 1, WhenFull::OldestMakesRoom);
        let _busy = [crowd.enter(1).unwrap(), crowd.enter(1).unwrap()];
        assert!(crowd.enter(1).is_none());
        assert!(crowd.enter(2).is_none());
        assert_eq!(crowd.occupancy(u8::to_string).refused, 2);
    }

    #[test]
    fn equals_do_not_push_each_other_out() {
        let crowd = Crowd::new(2, 2, 1, WhenFull::LargerMakesRoom);
        let (one, two) = (idle(&crowd, 1), idle(&crowd, 2));
        assert!(crowd.enter(3).is_none());
        drop(two);
        let again = idle(&crowd, 1);
        let _third = idle(&crowd, 3);
        assert!(is_evicted(&one));
        assert!(!is_evicted(&again));
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let crowd = Crowd::new(2, 1, 1, WhenFull::OldestMakesRoom);
        drop(idle(&crowd, 1));
        assert!(crowd.lock().holders.is_empty());
        let _place = idle(&crowd, 7);
        let seen = crowd.occupancy(u8::to_string);
        assert_eq!((seen.largest, seen.at_share), (1, vec!["7".to_owned()]));
    }
}
