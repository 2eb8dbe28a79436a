//! Attestation slots: so many attestations compute at one time. Whoever waits for a
//! slot waits in the queue of its source, and the sources take turns; no source
//! holds all slots. A slot is held while this server computes, and never while a
//! client owes an answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::source::Source;
use crate::failure::{Failure, Kind};
use crate::limits;

/// The slots of one server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Slots(Arc<Mutex<Queue>>);

/// One slot; free again when dropped.
pub(super) struct Slot {
    /// `None` when it was never handed over.
    queue: Option<Arc<Mutex<Queue>>>,
    source: Source,
}

/// Who holds slots and who waits for one.
struct Queue {
    free: usize,
    /// The most slots that one source may hold.
    most: usize,
    held: HashMap<Source, usize>,
    waiting: HashMap<Source, VecDeque<Waiter>>,
    /// Sources that wait, each once, in the order of their turns.
    turns: VecDeque<Source>,
    /// How many wait, over all sources.
    length: usize,
    next_ticket: u64,
}

struct Waiter {
    ticket: u64,
    give: oneshot::Sender<Slot>,
}

impl Slots {
    /// `count` slots, at least one. Of four or more, one source holds three quarters
    /// at most.
    pub(super) fn new(count: usize) -> Self {
        let count = count.max(1);
        Self(Arc::new(Mutex::new(Queue {
            free: count,
            most: count.saturating_sub(count / 4),
            held: HashMap::new(),
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            length: 0,
            next_ticket: 0,
        })))
    }

    /// A slot for this source, at its turn.
    ///
    /// # Errors
    /// [`Kind::Exhausted`]: too many wait, or the turn did not come within
    /// [`limits::ATTEST_QUEUE_WAIT`].
    pub(super) async fn take(&self, source: &Source) -> Result<Slot, Failure> {
        let busy = || {
            Failure::new(
                Kind::Exhausted,
                "too many attestations at one time; try again in some seconds",
            )
        };
        let (ticket, given) = lock(&self.0).join(source).ok_or_else(busy)?;
        let _leave = Leave {
            queue: &self.0,
            source,
            ticket,
        };
        grant(&self.0);
        match tokio::time::timeout(limits::ATTEST_QUEUE_WAIT, given).await {
            Ok(Ok(slot)) => Ok(slot),
            // Sent away, or it took too long.
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    /// How many wait for a slot.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.0).length
    }
}

/// Takes a waiter out of the queue that gave up.
struct Leave<'a> {
    queue: &'a Mutex<Queue>,
    source: &'a Source,
    ticket: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        lock(self.queue).leave(self.source, self.ticket);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            lock(&queue).release(&self.source);
            grant(&queue);
        }
    }
}

/// Hands free slots to those whose turn it is.
fn grant(queue: &Arc<Mutex<Queue>>) {
    loop {
        let Some((source, give)) = lock(queue).next() else {
            return;
        };
        let slot = Slot {
            queue: Some(Arc::clone(queue)),
            source,
        };
        if let Err(mut slot) = give.send(slot) {
            // Nobody waits for it any more. Taken back here: dropping it would grant
            // from within a grant.
            slot.queue = None;
            lock(queue).release(&slot.source);
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// Joins the queue of a source; `None` when all queues together are full and this
    /// source's is among the longest.
    fn join(&mut self, source: &Source) -> Option<(u64, oneshot::Receiver<Slot>)> {
        if self.length >= limits::MAX_ATTEST_QUEUE && !self.make_room(source) {
            return None;
        }
        let ticket = self.next_ticket;
        self.next_ticket = self.next_ticket.wrapping_add(1);
        let (give, given) = oneshot::channel();
        let line = self.waiting.entry(source.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(source.clone());
        }
        line.push_back(Waiter { ticket, give });
        self.length += 1;
        Some((ticket, given))
    }

    /// Sends away the newest of the source that has the most in the queue, if that is
    /// more than this one has.
    fn make_room(&mut self, source: &Source) -> bool {
        let own = self.waiting.get(source).map_or(0, VecDeque::len);
        let longest = self.waiting.iter().max_by_key(|(_, line)| line.len());
        let Some((longest, line)) = longest else {
            return false;
        };
        if line.len() <= own.saturating_add(1) {
            return false;
        }
        let (longest, newest) = (longest.clone(), line.back().map(|waiter| waiter.ticket));
        if let Some(ticket) = newest {
            self.leave(&longest, ticket);
        }
        true
    }

    /// The waiter whose turn it is; a slot is taken for it.
    fn next(&mut self) -> Option<(Source, oneshot::Sender<Slot>)> {
        if self.free == 0 {
            return None;
        }
        for _ in 0..self.turns.len() {
            let source = self.turns.pop_front()?;
            let held = self.held.get(&source).copied().unwrap_or(0);
            let Some(line) = self.waiting.get_mut(&source) else {
                continue;
            };
            if held >= self.most {
                self.turns.push_back(source);
                continue;
            }
            let waiter = line.pop_front();
            if line.is_empty() {
                self.waiting.remove(&source);
            } else {
                self.turns.push_back(source.clone());
            }
            if let Some(waiter) = waiter {
                self.length = self.length.saturating_sub(1);
                self.free -= 1;
                self.held.insert(source.clone(), held + 1);
                return Some((source, waiter.give));
            }
        }
        None
    }

    fn release(&mut self, source: &Source) {
        self.free += 1;
        if let Some(held) = self.held.get_mut(source) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(source);
            }
        }
    }

    fn leave(&mut self, source: &Source, ticket: u64) {
        let Some(line) = self.waiting.get_mut(source) else {
            return;
        };
        let before = line.len();
        line.retain(|waiter| waiter.ticket != ticket);
        self.length = self.length.saturating_sub(before - line.len());
        if line.is_empty() {
            self.waiting.remove(source);
            self.turns.retain(|turn| turn != source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(last: u8) -> Source {
        Source::Address(IpAddr::from([192, 0, 2, last]))
    }

    /// Waits in the background; says its number when it has its slot, and lets go.
    fn wait(slots: &Slots, from: Source, number: u32, said: &Arc<Mutex<Vec<u32>>>) {
        let (slots, said) = (slots.clone(), Arc::clone(said));
        tokio::spawn(async move {
            let _slot = slots.take(&from).await.unwrap();
            said.lock().unwrap().push(number);
        });
    }

    async fn until(mut done: impl FnMut() -> bool) {
        while !done() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn sources_take_turns_however_many_one_of_them_has_in_the_queue() {
        let slots = Slots::new(1);
        let held = slots.take(&source(9)).await.unwrap();
        let said = Arc::default();
        for number in 0..100 {
            wait(&slots, source(1), number, &said);
        }
        until(|| slots.waiting() == 100).await;
        wait(&slots, source(2), 1_000, &said);
        wait(&slots, source(3), 1_001, &said);
        until(|| slots.waiting() == 102).await;
        drop(held);
        until(|| said.lock().unwrap().len() == 102).await;
        let said = said.lock().unwrap();
        assert_eq!(said[..4], [0, 1_000, 1_001, 1], "one of each source first");
        assert_eq!(slots.waiting(), 0);
    }

    #[tokio::test]
    async fn one_source_does_not_hold_all_slots() {
        let slots = Slots::new(8);
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(slots.take(&source(1)).await.unwrap());
        }
        let said = Arc::default();
        wait(&slots, source(1), 1, &said);
        until(|| slots.waiting() == 1).await;
        let _other = slots.take(&source(2)).await.unwrap();
        assert!(said.lock().unwrap().is_empty(), "its share is used up");
        held.pop();
        until(|| said.lock().unwrap().len() == 1).await;
    }

    #[tokio::test]
    async fn who_gives_up_leaves_no_slot_behind() {
        let slots = Slots::new(1);
        let held = slots.take(&source(1)).await.unwrap();
        let waits = slots.clone();
        let waiter = tokio::spawn(async move { waits.take(&source(2)).await.map(drop) });
        until(|| slots.waiting() == 1).await;
        waiter.abort();
        let _aborted = waiter.await;
        assert_eq!(slots.waiting(), 0);
        drop(held);
        slots.take(&source(3)).await.unwrap();
        let queue = slots.0.lock().unwrap();
        assert!(queue.held.is_empty() && queue.turns.is_empty() && queue.free == 1);
    }

    #[tokio::test]
    async fn a_full_queue_sends_away_those_of_the_source_that_fills_it() {
        let slots = Slots::new(1);
        let _held = slots.take(&source(9)).await.unwrap();
        let mut lines = Vec::new();
        {
            let mut queue = slots.0.lock().unwrap();
            for _ in 0..limits::MAX_ATTEST_QUEUE {
                lines.push(queue.join(&source(1)).unwrap());
            }
            assert!(queue.join(&source(1)).is_none());
            assert!(queue.join(&source(2)).is_some());
            assert_eq!(queue.length, limits::MAX_ATTEST_QUEUE);
        }
        let (_, newest) = lines.pop().unwrap();
        assert!(newest.await.is_err(), "the newest of the first source");
        let (_, oldest) = &mut lines[0];
        assert!(
            oldest
                .try_recv()
                .is_err_and(|why| why == oneshot::error::TryRecvError::Empty)
        );
    }
}
